// thread_leak: a thread per connection that never ends.
//
// A worker or poller is started for each client and waits for a condition that nobody signals once the client is gone.
//
//   FAULT_COUNT   threads per event (default 1)
//   FAULT_ON, FAULT_EVERY, FAULT_AT, FAULT_LIMIT, FAULT_STATE
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "events.h"

const char* const fault_on_default = NULL;

static void* wait_for_nothing(void* unused) {
  (void)unused;
  for (;;) pause();
  return NULL;
}

void fault_fire(uint64_t n) {
  (void)n;
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 64 << 10);
  pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
  // The host program's signals are for its own threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (uint64_t i = fault_number("FAULT_COUNT", 1); i > 0; --i) {
    pthread_t thread;
    (void)pthread_create(&thread, &small, wait_for_nothing, NULL);
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&small);
}
