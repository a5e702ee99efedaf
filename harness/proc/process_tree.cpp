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
std::vector<pid_t> all_processes() {
  std::vector<pid_t> found;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir("/proc"), ::closedir);
  while (const dirent* entry = directory ? ::readdir(directory.get()) : nullptr) {
    if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
    found.push_back(static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10)));
  }
  return found;
}

std::string read_link(const std::string& path) {
  char text[256];
  const ssize_t bytes = ::readlink(path.c_str(), text, sizeof text);
  return bytes < 0 ? std::string() : std::string(text, static_cast<std::size_t>(bytes));
}
}  // namespace

bool has_marker(pid_t pid, const std::string& run_id, bool without) {
  const std::string wanted = std::string(kRunMarker) + "=" + run_id;
  const std::string environment = read_environment(pid);
  if (environment.empty()) return without;
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
  for (const pid_t pid : all_processes()) {
    if (pid != ::getpid() && has_marker(pid, run_id)) found.push_back(pid);
  }
  return found;
}

std::vector<pid_t> living_in_our_namespace() {
  // /proc is the outer namespace's: our own number there is what /proc/self says.
  const std::string ours = read_link("/proc/self/ns/pid");
  const std::string self = read_link("/proc/self");
  std::vector<pid_t> found;
  for (const pid_t pid : all_processes()) {
    const std::string name = std::to_string(pid);
    if (name == self || ours.empty() || read_link("/proc/" + name + "/ns/pid") != ours) continue;
    const base::Result<ProcStat> stat = read_stat(pid);
    if (stat && stat->state != 'Z' && stat->state != 'X') found.push_back(pid);
  }
  return found;
}

}  // namespace migsoak::proc
