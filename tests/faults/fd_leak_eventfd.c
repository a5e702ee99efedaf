// fd_leak_eventfd: one eventfd too many per connection, or per start.
//
// The relatives of case 1 (spdk#2385, DPDK "FD leak with inflight messages"): the descriptor is one of the target's own
// rather than one that was sent to it, and often it leaks on a rare path only. It has no CLOEXEC, so in a QEMU with
// FAULT_ON=start it also outlives cpr-exec: one more in each exec generation.
//
//   FAULT_COUNT   eventfds per event (default 1)
//   FAULT_ON, FAULT_EVERY (50: once in 50 connections), FAULT_AT, FAULT_LIMIT, FAULT_STATE
#include <sys/eventfd.h>

#include "events.h"

const char* const fault_on_default = NULL;

void fault_fire(uint64_t n) {
  (void)n;
  for (uint64_t i = fault_number("FAULT_COUNT", 1); i > 0; --i) (void)eventfd(0, EFD_NONBLOCK);
}
