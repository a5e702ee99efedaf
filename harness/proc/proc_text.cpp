#include "proc/proc_text.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/unique_fd.h"

namespace migsoak::proc {

base::Result<std::string> read_at(int directory, const std::string& name, std::size_t bytes_max) {
  const auto failed = [&name](int errno_value) {
    // No permission is the machine's matter; anything else means that the process is gone.
    const bool denied = errno_value == EACCES || errno_value == EPERM;
    return base::fail(denied ? base::ErrorKind::environment : base::ErrorKind::subject,
                      "can't read " + name + ": " + std::strerror(errno_value));
  };
  const base::UniqueFd file(::openat(directory, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!file.valid()) return failed(errno);
  std::string text;
  std::size_t used = 0;
  text.resize(4096);
  for (;;) {
    if (used == text.size()) text.resize(std::min(bytes_max, text.size() * 4));
    const ssize_t bytes = ::read(file.get(), text.data() + used, text.size() - used);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) return failed(errno);
    if (bytes == 0) break;
    used += static_cast<std::size_t>(bytes);
    if (used >= bytes_max) return base::fail(base::ErrorKind::subject, name + " is longer than any honest one");
  }
  text.resize(used);
  return text;
}

base::Result<std::string> read_process_file(pid_t pid, const std::string& name) {
  return read_at(AT_FDCWD, "/proc/" + std::to_string(pid) + "/" + name, kProcTextBytesMax);
}

tl::unexpected<base::Error> process_gone(pid_t pid, const std::string& what, int errno_value) {
  const std::string where = "/proc/" + std::to_string(pid) + "/" + what;
  if (errno_value == EACCES || errno_value == EPERM) return base::fail_errno("can't read " + where, errno_value);
  return base::fail(base::ErrorKind::subject,
                    "process " + std::to_string(pid) + " is gone (" + where + ": " + std::strerror(errno_value) + ")");
}

}  // namespace migsoak::proc
