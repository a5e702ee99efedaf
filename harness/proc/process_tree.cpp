#include "proc/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "base/unique_fd.h"
#include "proc/proc_fs.h"

namespace migsoak::proc {

namespace {
// An environment is bounded by the stack limit (execve(2)); a hostile one is not read without end.
constexpr std::size_t kEnvironBytesMax = 8 << 20;

std::string read_environment(pid_t pid) {
  const base::UniqueFd file(::open(("/proc/" + std::to_string(pid) + "/environ").c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  char buffer[16384];
  while (file.valid() && text.size() < kEnvironBytesMax) {
    const ssize_t bytes = ::read(file.get(), buffer, sizeof buffer);
    if (bytes <= 0) break;
    text.append(buffer, static_cast<std::size_t>(bytes));
  }
  return text;
}
}  // namespace

std::vector<pid_t> descendants_of(pid_t root) {
  std::vector<pid_t> found = children_of(root);
  for (std::size_t i = 0; i < found.size(); ++i) {
    for (const pid_t child : children_of(found[i])) {
      // A process may be seen twice when it is re-parented while we look.
      if (child != root && std::find(found.begin(), found.end(), child) == found.end()) found.push_back(child);
    }
  }
  return found;
}

bool has_marker(pid_t pid, const std::string& run_id) {
  const std::string wanted = std::string(kRunMarker) + "=" + run_id;
  const std::string environment = read_environment(pid);
  std::size_t start = 0;
  while (start < environment.size()) {
    const std::size_t end = std::min(environment.find('\0', start), environment.size());
    if (environment.compare(start, end - start, wanted) == 0) return true;
    start = end + 1;
  }
  return false;
}

std::vector<pid_t> marked_processes(const std::string& run_id) {
  std::vector<pid_t> found;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir("/proc"), ::closedir);
  if (!directory) return found;
  while (const dirent* entry = ::readdir(directory.get())) {
    if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
    const pid_t pid = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
    if (pid != ::getpid() && has_marker(pid, run_id)) found.push_back(pid);
  }
  return found;
}

}  // namespace migsoak::proc
