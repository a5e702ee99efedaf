// One look of the settle loop. It runs every few milliseconds, so it reads directory entries only: the numbers of the
// open descriptors and the children, no links, no sock_diag.
#include <dirent.h>
#include <fmt/format.h>
#include <unistd.h>

#include <memory>

#include "base/text.h"
#include "probes/state.h"

namespace migsoak::probes {

namespace {

void append_fd_numbers(pid_t pid, std::string& into) {
  const std::string path = fmt::format("/proc/{}/fd", pid);
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
  if (!directory) {
    into += "gone";
    return;
  }
  const std::string own = pid == ::getpid() ? fmt::format("{}", ::dirfd(directory.get())) : std::string();
  while (const dirent* entry = ::readdir(directory.get())) {
    if (entry->d_name[0] == '.' || own == entry->d_name) continue;
    into += entry->d_name;
    into += ' ';
  }
}

}  // namespace

std::uint64_t settle_signature(const Scene& scene) {
  std::string text;
  for (const Subject& subject : scene.subjects) {
    text += fmt::format("\n{} {}: ", subject.process_id, subject.pid);
    append_fd_numbers(subject.pid, text);
    text += "| ";
    for (const pid_t child : proc::children_of(subject.pid)) text += fmt::format("{} ", child);
  }
  text += "\nreparented ";
  for (const pid_t pid : scene.reparented) text += fmt::format("{} ", pid);
  return base::hash64(text);
}

}  // namespace migsoak::probes
