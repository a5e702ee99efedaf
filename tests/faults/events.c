#include "events.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "stream.h"

FAULT_NEXT(accept)
FAULT_NEXT(accept4)
FAULT_NEXT(execv)
FAULT_NEXT(execve)
FAULT_NEXT(execvp)

static pid_t self;

static bool wanted(const char* event) {
  if (!fault_enabled()) return false;
  const char* fallback = fault_on_default;
  if (fallback == NULL) fallback = fault_in_qemu_system() ? "start" : "accept";
  return strcmp(fault_text("FAULT_ON", fallback), event) == 0;
}

static void happened(const char* event) {
  if (!wanted(event)) return;
  const int saved = errno;
  const uint64_t n = fault_count_event();
  if (fault_due(n)) fault_fire(n);
  errno = saved;
}

__attribute__((constructor)) static void started(void) {
  self = getpid();
  // Looked up here, because a forked child must not take the loader's lock.
  (void)next_execv();
  (void)next_execve();
  (void)next_execvp();
  happened("start");
}

// QEMU's cpr-exec calls execvp (migration/cpr-exec.c); libc's own calls among these three don't come by here.
FAULT_EXPORT int execv(const char* path, char* const argv[]) {
  if (getpid() == self) happened("exec");
  return next_execv()(path, argv);
}

FAULT_EXPORT int execve(const char* path, char* const argv[], char* const envp[]) {
  if (getpid() == self) happened("exec");
  return next_execve()(path, argv, envp);
}

FAULT_EXPORT int execvp(const char* file, char* const argv[]) {
  if (getpid() == self) happened("exec");
  return next_execvp()(file, argv);
}

static bool listener_counts(int listener) {
  struct sockaddr_un address = {0};
  socklen_t size = sizeof address - 1;  // one byte left as the terminator: unix(7), BUGS
  const int saved = errno;
  const bool known = getsockname(listener, (struct sockaddr*)&address, &size) == 0 && address.sun_family == AF_UNIX;
  errno = saved;
  const char* pattern = fault_text("FAULT_SOCKET", NULL);
  if (!known) return pattern == NULL;
  const char* slash = strrchr(address.sun_path, '/');
  const char* name = slash ? slash + 1 : address.sun_path;
  return pattern != NULL ? fault_matches(pattern, name) : !fault_matches("*qmp*|*mon*", name);
}

static void accepted(int listener, int fd) {
  if (fd < 0 || !fault_enabled()) return;
  stream_forget(fd);
  if (wanted("accept") && listener_counts(listener)) happened("accept");
}

FAULT_EXPORT int accept(int listener, struct sockaddr* address, socklen_t* size) {
  const int fd = next_accept()(listener, address, size);
  accepted(listener, fd);
  return fd;
}

FAULT_EXPORT int accept4(int listener, struct sockaddr* address, socklen_t* size, int flags) {
  const int fd = next_accept4()(listener, address, size, flags);
  accepted(listener, fd);
  return fd;
}

// One incoming migration per process at a time.
static struct stream_finder device_state;

void stream_begin(void) {
  stream_find(&device_state, fault_text("FAULT_MARKER", STREAM_DEVICE_STATE));
  happened("incoming");
}

void stream_data(uint64_t offset, const struct iovec* iov, size_t bytes) {
  (void)offset;
  if (stream_look(&device_state, iov, bytes) != NULL) happened("device_state");
}

void stream_end(void) {
  happened("loaded");
}

void stream_outgoing(void) {
  happened("outgoing");
}

void stream_sent(void) {
  happened("saved");
}
