#include "probes/ancestry.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>

#include "base/text.h"

namespace migsoak::probes {

namespace {

constexpr std::size_t kAncestryPruneAt = 4096;  // entries
constexpr std::size_t kAdoptedMax = 16384;      // entries
constexpr std::size_t kEnvironBytesMax = 256 << 10;
// High half of the mark, so that a limit somebody else has set is not mistaken for one; the low half is the process id.
constexpr std::uint64_t kMark = 0x6d6967'00000000ULL;
constexpr std::uint64_t kMarkIdMask = 0xffffffffULL;

void set_mark(pid_t pid, std::int64_t process_id) {
  rlimit limit{};
  if (process_id <= 0 || ::prlimit(pid, RLIMIT_LOCKS, nullptr, &limit) != 0) return;
  const std::uint64_t mark = kMark | (static_cast<std::uint64_t>(process_id) & kMarkIdMask);
  if (limit.rlim_max < mark) return;  // an unprivileged process can't raise it; the other ways have to do
  limit.rlim_cur = mark;
  ::prlimit(pid, RLIMIT_LOCKS, &limit, nullptr);
}

std::int64_t mark_of(pid_t pid) {
  rlimit limit{};
  if (::prlimit(pid, RLIMIT_LOCKS, nullptr, &limit) != 0) return 0;
  return (limit.rlim_cur & ~kMarkIdMask) == kMark ? static_cast<std::int64_t>(limit.rlim_cur & kMarkIdMask) : 0;
}

// "NSpid:\t4711\t12": the pid in each nested namespace, the host's first (proc(5), /proc/PID/status).
pid_t innermost_pid(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/status", pid));
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind("NSpid:", 0) != 0) continue;
    const std::size_t last = line.find_last_not_of("0123456789");
    return static_cast<pid_t>(std::strtol(line.c_str() + last + 1, nullptr, 10));
  }
  return pid;
}

// MIGSOAK_PROCESS, which every process of the topology is born with. The environment is the subject's to change, so
// only something that looks like a process name is believed.
std::string name_in_environment(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/environ", pid), std::ios::binary);
  std::string text(kEnvironBytesMax, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  constexpr std::string_view key = "MIGSOAK_PROCESS=";
  for (const std::string& word : base::split(text, '\0')) {
    if (word.rfind(key, 0) != 0) continue;
    std::string name = base::printable(word.substr(key.size()), 100);
    if (name.rfind("target:", 0) == 0 || name.rfind("qemu:", 0) == 0 || name == "harness") return name;
  }
  return "unknown";
}

std::pair<std::string, std::int64_t> named(const Scene& scene, const std::string& name) {
  const Subject* subject = subject_named(scene, name);
  return {name, subject == nullptr ? 0 : subject->process_id};
}

}  // namespace

void adopt(ProbeState& state, const Subject& subject) {
  // The harness's children are the topology, and each of those gets its own mark.
  if (subject.pid == ::getpid()) return;
  auto& adopted = state.impl().adopted;
  const auto known = adopted.find(subject.process_id);
  if (known != adopted.end() && known->second.pid == subject.pid) return;
  adopted[subject.process_id] = {subject.name, subject.pid};         // a wrapper's child takes the place of the wrapper
  if (adopted.size() > kAdoptedMax) adopted.erase(adopted.begin());  // ids grow: the oldest
  set_mark(subject.pid, subject.process_id);
  if (const auto stat = proc::read_stat(subject.pid)) remember(state.impl(), subject, *stat);
}

void remember(ProbeState::Impl& state, const Subject& subject, const proc::ProcStat& stat) {
  ProbeState::Impl::Ancestor& entry = state.ancestry[stat.pid];
  if (entry.start_ticks != stat.start_ticks || entry.inner_pid == 0) entry.inner_pid = innermost_pid(stat.pid);
  entry.subject = subject.name;
  entry.process_id = subject.process_id;
  entry.start_ticks = stat.start_ticks;
}

std::pair<std::string, std::int64_t> origin_of(const Scene& scene, const ProbeState::Impl& state,
                                               const proc::ProcStat& stat) {
  const auto seen = state.ancestry.find(stat.pid);
  if (seen != state.ancestry.end() && seen->second.start_ticks == stat.start_ticks) {
    return {seen->second.subject, seen->second.process_id};
  }
  const auto adopted = state.adopted.find(mark_of(stat.pid));
  if (adopted != state.adopted.end()) return {adopted->second.subject, adopted->first};
  const auto told = scene.ancestry.find(stat.pid);
  if (told != scene.ancestry.end()) return named(scene, told->second);
  // A leader's number stays taken for as long as its group or session has members (credentials(7)).
  for (const pid_t leader : {::getpgid(stat.pid), ::getsid(stat.pid)}) {
    const auto by_leader = leader > 0 && leader != stat.pid ? state.ancestry.find(leader) : state.ancestry.end();
    if (by_leader != state.ancestry.end() && by_leader->second.subject != "harness") {
      return {by_leader->second.subject, by_leader->second.process_id};
    }
  }
  return named(scene, name_in_environment(stat.pid));
}

bool descends_by_mark(const ProbeState::Impl& state, pid_t pid) {
  const auto adopted = state.adopted.find(mark_of(pid));
  return adopted != state.adopted.end() && adopted->second.pid != pid;
}

const ProbeState::Impl::Ancestor* owner_by_pid_in(const ProbeState::Impl& state, const std::string& file_name) {
  std::set<long> numbers;
  for (std::size_t at = 0; at < file_name.size();) {
    const std::size_t begin = file_name.find_first_of("0123456789", at);
    if (begin == std::string::npos) break;
    const std::size_t end = std::min(file_name.find_first_not_of("0123456789", begin), file_name.size());
    // A single digit is more likely a counter than a pid; ten would overflow one.
    if (end - begin >= 2 && end - begin <= 7) numbers.insert(std::strtol(file_name.c_str() + begin, nullptr, 10));
    at = end;
  }
  const ProbeState::Impl::Ancestor* by_host_pid = nullptr;
  for (const auto& [pid, ancestor] : state.ancestry) {
    if (ancestor.subject == "harness") continue;
    if (numbers.count(ancestor.inner_pid) != 0) return &ancestor;  // what getpid(2) told it
    if (numbers.count(pid) != 0) by_host_pid = &ancestor;
  }
  return by_host_pid;
}

void prune_ancestry(ProbeState::Impl& state) {
  if (state.ancestry.size() < kAncestryPruneAt) return;
  std::erase_if(state.ancestry, [](const auto& entry) {
    const auto stat = proc::read_stat(entry.first);
    const bool is_gone = !stat || stat->start_ticks != entry.second.start_ticks;
    return is_gone && ::kill(-entry.first, 0) != 0 && errno == ESRCH;  // and nobody is left in its group
  });
}

}  // namespace migsoak::probes
