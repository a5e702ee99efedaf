#include "hypervisor/executable.h"

namespace migsoak::hypervisor {

std::string_view executable_basename(std::string_view path) {
  // The kernel appends this to /proc/PID/exe when the file was replaced under a running process (proc(5)).
  constexpr std::string_view kDeleted = " (deleted)";
  if (path.size() > kDeleted.size() && path.substr(path.size() - kDeleted.size()) == kDeleted) {
    path.remove_suffix(kDeleted.size());
  }
  const auto slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

}  // namespace migsoak::hypervisor
