#include "stream.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

FAULT_NEXT(close)
FAULT_NEXT(read)
FAULT_NEXT(readv)
FAULT_NEXT(recv)
FAULT_NEXT(recvmsg)
FAULT_NEXT(write)
FAULT_NEXT(writev)
FAULT_NEXT(sendmsg)

enum { kDescriptorsMax = 4096 };
#define NEVER_READ UINT64_C(0)
#define SOMETHING_ELSE UINT64_MAX
// Bytes read so far from a migration stream, or one of the above.
static _Atomic uint64_t position[kDescriptorsMax];
// What has been written to it so far is a migration stream, or anything else, or nothing.
enum { kNeverWritten = 0, kOutgoing = 1, kOtherwise = 2 };
static _Atomic int written[kDescriptorsMax];

__attribute__((weak)) void stream_outgoing(void) {}
__attribute__((weak)) void stream_sent(void) {}

void stream_forget(int fd) {
  if (fd < 0 || fd >= kDescriptorsMax) return;
  atomic_store(&position[fd], NEVER_READ);
  atomic_store(&written[fd], kNeverWritten);
}

uint8_t* stream_byte(const struct iovec* iov, size_t index) {
  for (; index >= iov->iov_len; ++iov) index -= iov->iov_len;
  return (uint8_t*)iov->iov_base + index;
}

static bool starts_stream(const struct iovec* iov, size_t bytes) {
  static const uint8_t magic[4] = {'Q', 'E', 'V', 'M'};
  if (bytes < sizeof magic) return false;
  for (size_t i = 0; i < sizeof magic; ++i) {
    if (*stream_byte(iov, i) != magic[i]) return false;
  }
  return true;
}

static void was_read(int fd, const struct iovec* iov, ssize_t bytes) {
  if (bytes <= 0 || fd < 0 || fd >= kDescriptorsMax || !fault_enabled()) return;
  const int saved = errno;
  const uint64_t offset = atomic_load(&position[fd]);
  if (offset == SOMETHING_ELSE) return;
  if (offset == NEVER_READ) {
    if (!starts_stream(iov, (size_t)bytes)) {
      atomic_store(&position[fd], SOMETHING_ELSE);
      return;
    }
    stream_begin();
  }
  atomic_store(&position[fd], offset + (uint64_t)bytes);
  stream_data(offset, iov, (size_t)bytes);
  errno = saved;
}

FAULT_EXPORT ssize_t read(int fd, void* data, size_t size) {
  const ssize_t bytes = next_read()(fd, data, size);
  was_read(fd, &(struct iovec){data, size}, bytes);
  return bytes;
}

FAULT_EXPORT ssize_t readv(int fd, const struct iovec* iov, int count) {
  const ssize_t bytes = next_readv()(fd, iov, count);
  was_read(fd, iov, bytes);
  return bytes;
}

// A peek (QEMU 8.0 and later look at a new channel's magic that way) reads nothing yet.
FAULT_EXPORT ssize_t recv(int fd, void* data, size_t size, int flags) {
  const ssize_t bytes = next_recv()(fd, data, size, flags);
  if (!(flags & MSG_PEEK)) was_read(fd, &(struct iovec){data, size}, bytes);
  return bytes;
}

FAULT_EXPORT ssize_t recvmsg(int fd, struct msghdr* message, int flags) {
  const ssize_t bytes = next_recvmsg()(fd, message, flags);
  if (!(flags & MSG_PEEK)) was_read(fd, message->msg_iov, bytes);
  return bytes;
}

// QEMU's channels write by sendmsg (sockets) and writev (files, pipes).
static void was_written(int fd, const struct iovec* iov, ssize_t bytes) {
  if (bytes <= 0 || fd < 0 || fd >= kDescriptorsMax || !fault_enabled()) return;
  if (atomic_load(&written[fd]) != kNeverWritten) return;
  const bool begins = starts_stream(iov, (size_t)bytes);
  atomic_store(&written[fd], begins ? kOutgoing : kOtherwise);
  if (!begins) return;
  const int saved = errno;
  stream_outgoing();
  errno = saved;
}

FAULT_EXPORT ssize_t write(int fd, const void* data, size_t size) {
  const ssize_t bytes = next_write()(fd, data, size);
  was_written(fd, &(struct iovec){(void*)data, size}, bytes);
  return bytes;
}

FAULT_EXPORT ssize_t writev(int fd, const struct iovec* iov, int count) {
  const ssize_t bytes = next_writev()(fd, iov, count);
  was_written(fd, iov, bytes);
  return bytes;
}

FAULT_EXPORT ssize_t sendmsg(int fd, const struct msghdr* message, int flags) {
  const ssize_t bytes = next_sendmsg()(fd, message, flags);
  was_written(fd, message->msg_iov, bytes);
  return bytes;
}

FAULT_EXPORT int close(int fd) {
  uint64_t offset = NEVER_READ;
  int outgoing = kNeverWritten;
  if (fd >= 0 && fd < kDescriptorsMax) {
    offset = atomic_exchange(&position[fd], NEVER_READ);
    outgoing = atomic_exchange(&written[fd], kNeverWritten);
  }
  const int result = next_close()(fd);
  const int saved = errno;
  if (offset != NEVER_READ && offset != SOMETHING_ELSE && fault_enabled()) stream_end();
  if (outgoing == kOutgoing && fault_enabled()) stream_sent();
  errno = saved;
  return result;
}

void stream_find(struct stream_finder* finder, const char* text) {
  memset(finder, 0, sizeof *finder);
  snprintf(finder->text, sizeof finder->text, "%s", text);
  finder->length = strlen(finder->text);
  finder->done = finder->length == 0;
}

// After a mismatch: the longest shorter prefix that the bytes seen so far still end with. Texts are short; no table.
static size_t fall_back(const char* text, size_t matched) {
  for (size_t shorter = matched - 1; shorter > 0; --shorter) {
    if (memcmp(text, text + matched - shorter, shorter) == 0) return shorter;
  }
  return 0;
}

uint8_t* stream_look(struct stream_finder* finder, const struct iovec* iov, size_t bytes) {
  if (finder->done) return NULL;
  for (; bytes > 0; ++iov) {
    uint8_t* data = iov->iov_base;
    const size_t here = iov->iov_len < bytes ? iov->iov_len : bytes;
    for (size_t i = 0; i < here; ++i) {
      while (finder->matched > 0 && data[i] != (uint8_t)finder->text[finder->matched]) {
        finder->matched = fall_back(finder->text, finder->matched);
      }
      if (data[i] == (uint8_t)finder->text[finder->matched]) ++finder->matched;
      if (finder->matched == finder->length) {
        finder->done = true;
        return &data[i];
      }
    }
    bytes -= here;
  }
  return NULL;
}
