// Evidence of a hang: where every thread of a process is, in the kernel and in user space.
#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "base/text.h"
#include "proc/child_process.h"
#include "proc/proc_fs.h"
#include "proc/proc_text.h"
#include "proc/program.h"

namespace migsoak::proc {

namespace {
constexpr std::size_t kThreadsMax = 64;
constexpr std::size_t kFileBytesMax = 64 << 10;
constexpr std::size_t kThreadTextBytesMax = 4000;
constexpr std::size_t kUserTextBytesMax = 64 << 10;
constexpr auto kUserStackMax = std::chrono::seconds(5);

// Line by line, so that newlines survive and nothing else that is not printable does.
std::string printable_lines(std::string_view text, std::size_t bytes_max) {
  std::string shown;
  while (!text.empty() && shown.size() < bytes_max) shown += base::printable(take_line(text)) + "\n";
  if (!text.empty()) shown += "…\n";
  return shown;
}
}  // namespace

std::map<std::string, std::string> capture_stacks(pid_t pid) {
  std::map<std::string, std::string> stacks;
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(tasks.c_str()), ::closedir);
  if (!directory) return stacks;
  while (const dirent* entry = ::readdir(directory.get())) {
    if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
    if (stacks.size() >= kThreadsMax) break;
    const std::string tid = entry->d_name;
    std::string text;
    std::string name = tid;
    for (const char* file : {"comm", "wchan", "syscall", "stack"}) {
      // stack and syscall need privileges (proc(5)); what can't be read is left out.
      auto content = read_at(::dirfd(directory.get()), tid + "/" + file, kFileBytesMax);
      if (!content || content->empty()) continue;
      if (content->back() == '\n') content->pop_back();
      if (std::string_view(file) == "comm") {
        name += " " + base::printable(*content, 64);
      } else {
        text += std::string(file) + ": " + printable_lines(*content, kThreadTextBytesMax);
      }
    }
    stacks[name] = text;
  }
  return stacks;
}

std::map<std::string, std::string> capture_stacks(Reactor& reactor, Containment& containment, pid_t pid) {
  std::map<std::string, std::string> stacks = capture_stacks(pid);
  if (stacks.empty() || !find_program("eu-stack")) return stacks;
  SpawnSpec spec;
  spec.name = "eu-stack";
  // -n: frames per thread. It stops the process with ptrace(2) for a moment.
  spec.argv = {"eu-stack", "-n", "64", "-p", std::to_string(pid)};
  spec.outside_namespace = true;
  spec.env["DEBUGINFOD_URLS"] = "";  // never to the network
  const auto output = run_command(reactor, containment, spec, base::Deadline::in(kUserStackMax));
  stacks["user"] = output ? printable_lines(output->out, kUserTextBytesMax) : output.error().describe();
  return stacks;
}

}  // namespace migsoak::proc
