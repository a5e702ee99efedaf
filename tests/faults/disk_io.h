// Wraps the positioned reads and writes of a disk image: what a storage daemon's (or QEMU's) file node does with
// aio=threads. aio=native and aio=io_uring go past it. An image is a regular file, opened O_RDWR, of FAULT_SIZE_MIN
// (default 1M) bytes or more, that still has a name (so no memfd).
#pragma once

#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "fault.h"

struct disk_request {
  int fd;
  const struct iovec* iov;
  int count;
  uint64_t offset;
  size_t bytes;
  struct stat image;
};

// Defined by each disk fault.
// Before a write. True: it has been dealt with, and is reported as done in full. False: goes ahead as asked.
bool damage_write(const struct disk_request* write);
// After a read that returned `bytes`.
void damage_read(const struct disk_request* read);

// The real functions.
ssize_t disk_pread(int fd, void* data, size_t size, uint64_t offset);
ssize_t disk_pwritev(int fd, const struct iovec* iov, int count, uint64_t offset);
