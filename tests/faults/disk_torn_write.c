// disk_torn_write: only the first half of a write reaches the image.
//
// A short write whose rest is never retried, power lost in the middle of a request. Writes of less than two sectors
// cannot be torn and are not counted.
//
//   FAULT_EVERY (default 1), FAULT_AT, FAULT_LIMIT, FAULT_STATE: which writes of the image
//   FAULT_SIZE_MIN (disk_io.h)
#include <string.h>

#include "disk_io.h"

enum { kSectorBytes = 512, kBlockBytes = 4096 };

bool damage_write(const struct disk_request* write) {
  if (write->bytes < 2 * kSectorBytes || !fault_due(fault_count_event())) return false;
  // Aligned for a descriptor with O_DIRECT.
  const size_t unit = write->bytes >= 2 * kBlockBytes ? kBlockBytes : kSectorBytes;
  size_t left = write->bytes / 2 / unit * unit;
  struct iovec* part = calloc((size_t)write->count, sizeof *part);
  if (part == NULL) return false;
  int count = 0;
  for (; left > 0; ++count) {
    part[count] = write->iov[count];
    if (part[count].iov_len > left) part[count].iov_len = left;
    left -= part[count].iov_len;
  }
  const bool written = disk_pwritev(write->fd, part, count, write->offset) >= 0;
  free(part);
  return written;
}

void damage_read(const struct disk_request* read) {
  (void)read;
}
