// crash_after: the process dies in the middle of its work.
//
// Case 1's end: the target takes a truncated message for an error, frees the device and uses it again: SIGSEGV. In a
// QEMU with FAULT_ON=start or device_state: the new side that dies before it has taken over.
//
//   FAULT_AT       at which event (default 1)
//   FAULT_SIGNAL   by which signal (default 11, SIGSEGV)
//   FAULT_EXIT     instead: ends with this exit status, silently
//   FAULT_ON, FAULT_EVERY, FAULT_LIMIT, FAULT_STATE (else every new process counts from 1 again)
#include <signal.h>
#include <unistd.h>

#include "events.h"

const char* const fault_on_default = NULL;

void fault_fire(uint64_t n) {
  (void)n;
  if (fault_text("FAULT_EXIT", NULL) != NULL) _exit((int)fault_number("FAULT_EXIT", 1));
  const int number = (int)fault_number("FAULT_SIGNAL", SIGSEGV);
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, number);
  signal(number, SIG_DFL);
  pthread_sigmask(SIG_UNBLOCK, &one, NULL);
  raise(number);
}
