// hang_after: the process is there and does nothing.
//
// A lock taken twice, storage that never answers: QEMU waits for the target, the harness waits for QEMU.
//
//   FAULT_AT             at which event (default 1)
//   FAULT_MODE=block     the thread that saw the event never comes back (default)
//   FAULT_MODE=stop      the whole process stops (SIGSTOP)
//   FAULT_SECONDS        block: for so long only (default 0: for ever)
//   FAULT_ON, FAULT_EVERY, FAULT_LIMIT, FAULT_STATE
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "events.h"

const char* const fault_on_default = NULL;

void fault_fire(uint64_t n) {
  (void)n;
  if (strcmp(fault_text("FAULT_MODE", "block"), "stop") == 0) {
    kill(getpid(), SIGSTOP);
    return;
  }
  struct timespec left = {(time_t)fault_number("FAULT_SECONDS", 0), 0};
  if (left.tv_sec == 0) {
    for (;;) pause();
  }
  while (nanosleep(&left, &left) != 0) {
  }
}
