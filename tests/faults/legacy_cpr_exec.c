// legacy_cpr_exec: a hot upgrade by fork and exec whose child is never waited for (cases.md, case 3b and 3c).
//
// In openEuler's QEMU 6.2 an upgrade forked, and the child became the new QEMU. The re-created machine had an ide-hd
// that the old one never had, so the child ended in device init ("Device needs media, but drive is empty"), and the old
// QEMU, which never waits, kept `[qemu-system-x86] <defunct>` for the rest of its life. A QEMU of this host plays both:
// when its migration begins it forks, the child becomes this very program with such a drive, and ends. The migration
// itself is none of its business and goes on as it is.
//
//   FAULT_DEVICE   the device that can't be (default ide-hd,id=ide0-hd0)
//   FAULT_ON (default outgoing), FAULT_EVERY, FAULT_AT, FAULT_LIMIT, FAULT_STATE
//
// The program has to run with an empty environment: a QEMU that was installed, not one of another suite.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/wait.h>
#include <unistd.h>

#include "events.h"

const char* const fault_on_default = "outgoing";

// Between _Fork and exec only async-signal-safe calls: QEMU has threads, and the migration's is one of them.
static void become(char* const argv[]) {
  char* const empty[] = {NULL};
  sigset_t none;
  sigemptyset(&none);
  pthread_sigmask(SIG_SETMASK, &none, NULL);
  closefrom(0);
  if (open("/dev/null", O_RDWR) == 0) {
    (void)dup2(0, 1);
    (void)dup2(0, 2);
  }
  execve(argv[0], argv, empty);
  _exit(127);
}

void fault_fire(uint64_t n) {
  (void)n;
  char program[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  if (length < 0) return;
  program[length] = '\0';
  char* const argv[] = {program,
                        "-M",
                        "pc",
                        "-S",
                        "-nodefaults",
                        "-display",
                        "none",
                        "-accel",
                        "tcg",
                        "-m",
                        "16",
                        "-device",
                        (char*)fault_text("FAULT_DEVICE", "ide-hd,id=ide0-hd0"),
                        NULL};
  // _Fork(3): no atfork handlers, which in QEMU take the RCU locks.
  const pid_t child = _Fork();
  if (child == 0) become(argv);
  // When the event is over the zombie is there. It is looked at, not waited for.
  siginfo_t ended;
  while (child > 0 && waitid(P_PID, (id_t)child, &ended, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
  }
}
