// slow_switch: the guest stands still for too long at the switch-over.
//
// The real ones: a disk that is slow to reopen, a vhost target slow to answer, a device model that takes a second to
// load. Here the destination QEMU stops reading when the migration stream comes to the devices. The source has stopped
// the guest by then and the destination has not started it, so the guest's silence is at least FAULT_MS, whatever the
// mode, the transport and the size of the guest. The destination's monitor is deaf for as long (its main thread loads),
// and the source may report "completed" early: the stream's rest lies in the socket's buffer.
//
//   FAULT_MS       how long (default 1000)
//   FAULT_MARKER   text in the stream at which it happens (default cpu_common, the first vCPU's section)
//   FAULT_EVERY, FAULT_AT, FAULT_LIMIT, FAULT_STATE (else each destination is slow)
#include <time.h>

#include "events.h"

const char* const fault_on_default = "device_state";

void fault_fire(uint64_t n) {
  (void)n;
  const uint64_t ms = fault_number("FAULT_MS", 1000);
  struct timespec left = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000L};
  while (nanosleep(&left, &left) != 0) {
  }
}
