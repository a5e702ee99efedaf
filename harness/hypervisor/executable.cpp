#include "hypervisor/executable.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "base/text.h"

namespace migsoak::hypervisor {
using base::ErrorKind;

namespace {

bool runnable_file(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && ::access(path.c_str(), X_OK) == 0;
}

std::string without_links(const std::string& path) {
  char resolved[PATH_MAX];
  return ::realpath(path.c_str(), resolved) != nullptr ? std::string(resolved) : path;
}

}  // namespace

std::string_view executable_basename(std::string_view path) {
  // The kernel appends this to /proc/PID/exe when the file was replaced under a running process (proc(5)).
  constexpr std::string_view kDeleted = " (deleted)";
  if (path.size() > kDeleted.size() && path.substr(path.size() - kDeleted.size()) == kDeleted) {
    path.remove_suffix(kDeleted.size());
  }
  const auto slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

base::Result<std::string> find_executable(const std::string& name) {
  const std::string shown = "'" + base::printable(name) + "'";
  if (name.empty()) return base::fail(ErrorKind::bad_input, "no executable given");
  if (name.find('/') != std::string::npos) {
    struct stat status {};
    if (::stat(name.c_str(), &status) != 0) {
      return base::fail(ErrorKind::bad_input, shown + ": " + std::strerror(errno));
    }
    if (!S_ISREG(status.st_mode))
      return base::fail(ErrorKind::bad_input, shown + (S_ISDIR(status.st_mode) ? " is a directory" : " is no file"));
    if (::access(name.c_str(), X_OK) != 0) return base::fail(ErrorKind::bad_input, shown + " is not executable");
    return without_links(name);
  }
  const char* path = std::getenv("PATH");
  for (const std::string& folder : base::split(path != nullptr ? path : "/usr/bin:/bin", ':')) {
    const std::string candidate = (folder.empty() ? "." : folder) + "/" + name;
    if (runnable_file(candidate)) return without_links(candidate);
  }
  return base::fail(ErrorKind::bad_input, shown + " is not in PATH");
}

}  // namespace migsoak::hypervisor
