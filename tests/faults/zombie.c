// zombie: a child that has ended and that nobody waits for (cases.md, case 3c).
//
// A cpr-exec child failed in device init and stayed `[qemu-system-x86] <defunct>` until its parent went. With
// FAULT_ON=exec the zombie belongs to a pid whose program changes under it; with FAULT_ON=start each QEMU has one, and
// under cpr-exec each generation one more; with FAULT_ON=saved it belongs to the old QEMU of an upgrade and vanishes
// with it.
//
//   FAULT_COUNT   zombies per event (default 1)
//   FAULT_EXIT    their exit status (default 1)
//   FAULT_ON, FAULT_EVERY, FAULT_AT, FAULT_LIMIT, FAULT_STATE
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "events.h"

const char* const fault_on_default = NULL;

void fault_fire(uint64_t n) {
  (void)n;
  const int status = (int)fault_number("FAULT_EXIT", 1);
  for (uint64_t i = fault_number("FAULT_COUNT", 1); i > 0; --i) {
    // _Fork(3): no atfork handlers, which in QEMU take the RCU locks.
    const pid_t child = _Fork();
    if (child == 0) _exit(status);
    // When the event is over the zombie is there. It is looked at, not waited for.
    siginfo_t ended;
    while (child > 0 && waitid(P_PID, (id_t)child, &ended, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
    }
  }
}
