#include "disk_io.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

// What pread64 is called in a program built with _FORTIFY_SOURCE.
ssize_t __pread64_chk(int fd, void* data, size_t size, off64_t offset, size_t room);

FAULT_NEXT(pread)
FAULT_NEXT(pread64)
FAULT_NEXT(__pread64_chk)
FAULT_NEXT(preadv)
FAULT_NEXT(preadv64)
FAULT_NEXT(pwrite)
FAULT_NEXT(pwrite64)
FAULT_NEXT(pwritev)
FAULT_NEXT(pwritev64)

ssize_t disk_pread(int fd, void* data, size_t size, uint64_t offset) {
  return next_pread64()(fd, data, size, (off64_t)offset);
}

ssize_t disk_pwritev(int fd, const struct iovec* iov, int count, uint64_t offset) {
  return next_pwritev64()(fd, iov, count, (off64_t)offset);
}

static bool is_image(int fd, struct stat* image) {
  if (!fault_enabled() || fstat(fd, image) != 0 || !S_ISREG(image->st_mode) || image->st_nlink == 0) return false;
  if ((uint64_t)image->st_size < fault_number("FAULT_SIZE_MIN", 1 << 20)) return false;
  return (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR;
}

// Bytes to report, or -1: the write has to go ahead.
static ssize_t before_write(int fd, const struct iovec* iov, int count, off64_t offset) {
  const int saved = errno;
  struct disk_request request = {.fd = fd, .iov = iov, .count = count, .offset = (uint64_t)offset};
  for (int i = 0; i < count; ++i) request.bytes += iov[i].iov_len;
  const bool handled = request.bytes > 0 && is_image(fd, &request.image) && damage_write(&request);
  errno = saved;
  return handled ? (ssize_t)request.bytes : -1;
}

static ssize_t after_read(int fd, const struct iovec* iov, int count, off64_t offset, ssize_t bytes) {
  const int saved = errno;
  struct disk_request request = {.fd = fd, .iov = iov, .count = count, .offset = (uint64_t)offset};
  request.bytes = bytes > 0 ? (size_t)bytes : 0;
  if (request.bytes > 0 && is_image(fd, &request.image)) damage_read(&request);
  errno = saved;
  return bytes;
}

#define WRITE_ONE(name, offset_type)                                                                 \
  FAULT_EXPORT ssize_t name(int fd, const void* data, size_t size, offset_type offset) {             \
    const ssize_t done = before_write(fd, &(struct iovec){(void*)(uintptr_t)data, size}, 1, offset); \
    return done >= 0 ? done : next_##name()(fd, data, size, offset);                                 \
  }
#define WRITE_MANY(name, offset_type)                                                         \
  FAULT_EXPORT ssize_t name(int fd, const struct iovec* iov, int count, offset_type offset) { \
    const ssize_t done = before_write(fd, iov, count, offset);                                \
    return done >= 0 ? done : next_##name()(fd, iov, count, offset);                          \
  }
#define READ_ONE(name, offset_type)                                                \
  FAULT_EXPORT ssize_t name(int fd, void* data, size_t size, offset_type offset) { \
    const ssize_t bytes = next_##name()(fd, data, size, offset);                   \
    return after_read(fd, &(struct iovec){data, size}, 1, offset, bytes);          \
  }
#define READ_MANY(name, offset_type)                                                          \
  FAULT_EXPORT ssize_t name(int fd, const struct iovec* iov, int count, offset_type offset) { \
    return after_read(fd, iov, count, offset, next_##name()(fd, iov, count, offset));         \
  }

WRITE_ONE(pwrite, off_t)
WRITE_ONE(pwrite64, off64_t)
WRITE_MANY(pwritev, off_t)
WRITE_MANY(pwritev64, off64_t)
READ_ONE(pread, off_t)
READ_ONE(pread64, off64_t)
READ_MANY(preadv, off_t)
READ_MANY(preadv64, off64_t)

FAULT_EXPORT ssize_t __pread64_chk(int fd, void* data, size_t size, off64_t offset, size_t room) {
  const ssize_t bytes = next___pread64_chk()(fd, data, size, offset, room);
  return after_read(fd, &(struct iovec){data, size}, 1, offset, bytes);
}
