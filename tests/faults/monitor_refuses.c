// monitor_refuses: a QEMU that does not know a command of its monitor any more.
//
// An update drops or renames a command (or prints something else for it), and what a tool read through it is no longer
// there. Whoever takes that for "nothing to see" passes what it can't judge. In what QEMU receives on its sockets the
// text FAULT_COMMAND gets its last letter changed: QMP answers with an error, the human monitor with a complaint.
//
//   FAULT_COMMAND=info qtree   needed; within one message
//   FAULT_EVERY, FAULT_AT, FAULT_LIMIT, FAULT_STATE: which occurrences
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "fault.h"

FAULT_NEXT(recvmsg)

static void change(char* data, size_t size, const char* command) {
  const size_t length = strlen(command);
  for (char* at = data; length > 0 && at + length <= data + size; ++at) {
    if (memcmp(at, command, length) != 0) continue;
    if (fault_due(fault_count_event())) at[length - 1] = at[length - 1] == 'x' ? 'y' : 'x';
    at += length - 1;
  }
}

FAULT_EXPORT ssize_t recvmsg(int connection, struct msghdr* message, int flags) {
  const ssize_t bytes = next_recvmsg()(connection, message, flags);
  if (bytes <= 0 || !fault_enabled()) return bytes;
  const int saved = errno;
  size_t left = (size_t)bytes;
  for (size_t i = 0; i < (size_t)message->msg_iovlen && left > 0; ++i) {
    const size_t here = message->msg_iov[i].iov_len < left ? message->msg_iov[i].iov_len : left;
    change(message->msg_iov[i].iov_base, here, fault_text("FAULT_COMMAND", ""));
    left -= here;
  }
  errno = saved;
  return bytes;
}
