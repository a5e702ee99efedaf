// monitor_refuses: a QEMU that does not know a command of its monitor any more.
//
// An update drops or renames a command (or prints something else for it), and what a tool read through it is no longer
// there. Whoever takes that for "nothing to see" passes what it can't judge. In what QEMU receives on its sockets the
// text FAULT_COMMAND gets its last letter changed: QMP answers with an error, the human monitor with a complaint.
//
//   FAULT_COMMAND=info qtree   needed
//   FAULT_EVERY, FAULT_AT, FAULT_LIMIT, FAULT_STATE: which occurrences
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "fault.h"

FAULT_NEXT(recvmsg)

enum { kDescriptorsMax = 1024 };
// How much of the command a connection has received: QEMU's monitor takes byte after byte.
static _Atomic size_t matched[kDescriptorsMax];

static void change(int connection, char* data, size_t size, const char* command) {
  const size_t length = strlen(command);
  if (length == 0 || connection < 0 || connection >= kDescriptorsMax) return;
  size_t have = atomic_load(&matched[connection]);
  for (char* at = data; at < data + size; ++at) {
    have = *at == command[have] ? have + 1 : *at == command[0] ? 1 : 0;
    if (have < length) continue;
    have = 0;
    if (fault_due(fault_count_event())) *at = *at == 'x' ? 'y' : 'x';
  }
  atomic_store(&matched[connection], have);
}

FAULT_EXPORT ssize_t recvmsg(int connection, struct msghdr* message, int flags) {
  const ssize_t bytes = next_recvmsg()(connection, message, flags);
  if (bytes <= 0 || !fault_enabled()) return bytes;
  const int saved = errno;
  size_t left = (size_t)bytes;
  for (size_t i = 0; i < (size_t)message->msg_iovlen && left > 0; ++i) {
    const size_t here = message->msg_iov[i].iov_len < left ? message->msg_iov[i].iov_len : left;
    change(connection, message->msg_iov[i].iov_base, here, fault_text("FAULT_COMMAND", ""));
    left -= here;
  }
  errno = saved;
  return bytes;
}
