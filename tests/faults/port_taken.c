// port_taken: the port that a QEMU was told to listen on is taken by somebody else.
//
// Ports for a migration are chosen before the QEMU that takes the guest is there, and in between anybody may have them.
// Right before a socket is bound to a TCP port, another one listens on it: the kernel says the rest.
//
//   FAULT_EVERY, FAULT_AT, FAULT_LIMIT, FAULT_STATE: which ports, counted as they are bound
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "fault.h"

FAULT_NEXT(bind)

static bool is_port(const struct sockaddr* address, socklen_t size) {
  if (address->sa_family != AF_INET || size < sizeof(struct sockaddr_in)) return false;
  return ((const struct sockaddr_in*)address)->sin_port != 0;
}

FAULT_EXPORT int bind(int bound, const struct sockaddr* address, socklen_t size) {
  if (fault_enabled() && is_port(address, size) && fault_due(fault_count_event())) {
    const int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (other < 0 || next_bind()(other, address, size) != 0 || listen(other, 1) != 0) abort();
    errno = 0;
  }
  return next_bind()(bound, address, size);
}
