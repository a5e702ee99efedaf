// disk_misplaced_write: a write lands at another place of the image.
//
// A wrong sector number after a device's state was restored, a partition offset applied twice: one place keeps its old
// data, another is overwritten.
//
//   FAULT_SHIFT   how far away (default 64K; before the right place where that would be beyond the end)
//   FAULT_EVERY (default 1), FAULT_AT, FAULT_LIMIT, FAULT_STATE: which writes of the image
//   FAULT_SIZE_MIN (disk_io.h)
#include "disk_io.h"

bool damage_write(const struct disk_request* write) {
  const uint64_t shift = fault_number("FAULT_SHIFT", 64 << 10);
  const uint64_t end = write->offset + write->bytes;
  const bool after = end + shift <= (uint64_t)write->image.st_size;
  if (!after && write->offset < shift) return false;
  if (!fault_due(fault_count_event())) return false;
  return disk_pwritev(write->fd, write->iov, write->count, after ? write->offset + shift : write->offset - shift) >= 0;
}

void damage_read(const struct disk_request* read) {
  (void)read;
}
