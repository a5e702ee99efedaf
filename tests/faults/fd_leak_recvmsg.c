// fd_leak_recvmsg: the vhost target that dies at about the 1000th migration (cases.md, case 1).
//
// Every migration QEMU passes eventfds, memfds and a socket to the target over SCM_RIGHTS; the target of the incident
// stored a new descriptor without closing the one before. Here the first descriptor of every message gets a duplicate
// that nobody knows of: at RLIMIT_NOFILE recvmsg(2) sets MSG_CTRUNC and the target takes the message for a truncated
// one. A clean storage daemon gains 7 a migration: 4 eventfds, 1 socket, 1 guest memfd, 1 log memfd.
//
//   FAULT_KIND=eventfd|memfd|socket|any   only messages whose first descriptor is of that kind (default any)
//   FAULT_EVERY, FAULT_AT, FAULT_LIMIT    which of these messages (fault.h)
//   FAULT_PER_CONNECTION_EVERY=n          instead: one message in each n-th accepted connection, the first that matches
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fault.h"

FAULT_NEXT(accept)
FAULT_NEXT(accept4)
FAULT_NEXT(recvmsg)

enum { kDescriptorsMax = 65536 };
// Set for a connection that has a leak to come.
static _Atomic bool pending[kDescriptorsMax];

static void accepted(int fd) {
  static _Atomic uint64_t connections;
  if (fd < 0 || fd >= kDescriptorsMax || !fault_enabled()) return;
  const uint64_t every = fault_number("FAULT_PER_CONNECTION_EVERY", 0);
  const uint64_t n = atomic_fetch_add(&connections, 1) + 1;
  atomic_store(&pending[fd], every != 0 && n % every == 0);
}

FAULT_EXPORT int accept(int listener, struct sockaddr* address, socklen_t* size) {
  const int fd = next_accept()(listener, address, size);
  accepted(fd);
  return fd;
}

FAULT_EXPORT int accept4(int listener, struct sockaddr* address, socklen_t* size, int flags) {
  const int fd = next_accept4()(listener, address, size, flags);
  accepted(fd);
  return fd;
}

static bool kind_matches(int fd) {
  const char* kind = fault_text("FAULT_KIND", "any");
  if (strcmp(kind, "any") == 0) return true;
  char link[64], name[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, name, sizeof name - 1);
  if (length < 0) return false;
  name[length] = '\0';
  if (strcmp(kind, "eventfd") == 0) return strcmp(name, "anon_inode:[eventfd]") == 0;
  if (strcmp(kind, "memfd") == 0) return strncmp(name, "/memfd:", 7) == 0;
  if (strcmp(kind, "socket") == 0) return strncmp(name, "socket:", 7) == 0;
  return false;
}

static bool leaks_now(int connection) {
  if (fault_number("FAULT_PER_CONNECTION_EVERY", 0) == 0) return fault_due(fault_count_event());
  return connection >= 0 && connection < kDescriptorsMax && atomic_exchange(&pending[connection], false);
}

FAULT_EXPORT ssize_t recvmsg(int connection, struct msghdr* message, int flags) {
  const ssize_t bytes = next_recvmsg()(connection, message, flags);
  if (bytes < 0 || !fault_enabled()) return bytes;
  const int saved = errno;
  for (struct cmsghdr* part = CMSG_FIRSTHDR(message); part != NULL; part = CMSG_NXTHDR(message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    if (part->cmsg_len < CMSG_LEN(sizeof(int))) continue;
    int first = -1;
    memcpy(&first, CMSG_DATA(part), sizeof first);
    // At the limit the duplicate fails, as the incident's own would have.
    if (kind_matches(first) && leaks_now(connection)) (void)fcntl(first, F_DUPFD_CLOEXEC, 0);
    break;
  }
  errno = saved;
  return bytes;
}
