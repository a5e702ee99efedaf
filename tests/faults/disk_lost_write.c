// disk_lost_write: a write that is reported as done and never was.
//
// In-flight requests that get lost between two processes at a switch-over, a volatile cache that nobody flushed: the
// guest reads its old data back, with no error anywhere.
//
//   FAULT_EVERY (default 1), FAULT_AT, FAULT_LIMIT, FAULT_STATE: which writes of the image
//   FAULT_SIZE_MIN (disk_io.h)
#include "disk_io.h"

bool damage_write(const struct disk_request* write) {
  (void)write;
  return fault_due(fault_count_event());
}

void damage_read(const struct disk_request* read) {
  (void)read;
}
