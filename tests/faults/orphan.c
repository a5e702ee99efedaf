// orphan: a process that outlives the one that left it behind, in a session of its own (cases.md, case 3c).
//
// After a successful upgrade the old QEMU exits and its child goes to init: who watches only his own children loses
// sight of it. It holds no descriptor of its ancestor, so neither a pipe nor a socket stays open through it. It is a
// grandchild, forked twice and detached by setsid(2): FAULT_ON=exec and saved leave one behind at each hot upgrade.
//
//   FAULT_SECONDS   how long it sleeps (default 3600)
//   FAULT_COUNT     orphans per event (default 1)
//   FAULT_ON, FAULT_EVERY, FAULT_AT, FAULT_LIMIT, FAULT_STATE
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "events.h"

const char* const fault_on_default = NULL;

// Between _Fork and exec only async-signal-safe calls: the host program may have threads.
static void leave_behind(char* const argv[]) {
  char* const empty[] = {NULL};
  setsid();
  if (_Fork() != 0) _exit(0);
  closefrom(0);
  if (open("/dev/null", O_RDWR) == 0) {
    (void)dup2(0, 1);
    (void)dup2(0, 2);
  }
  if (chdir("/") != 0) _exit(127);
  execve("/bin/sleep", argv, empty);
  _exit(127);
}

void fault_fire(uint64_t n) {
  (void)n;
  char seconds[32];
  snprintf(seconds, sizeof seconds, "%llu", (unsigned long long)fault_number("FAULT_SECONDS", 3600));
  char* const argv[] = {"left-behind", seconds, NULL};
  for (uint64_t i = fault_number("FAULT_COUNT", 1); i > 0; --i) {
    const pid_t child = _Fork();
    if (child == 0) leave_behind(argv);
    if (child > 0) (void)waitpid(child, NULL, 0);
  }
}
