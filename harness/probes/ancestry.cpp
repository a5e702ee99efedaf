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
constexpr std::size_t kExpectedMax = 1024;      // of these
constexpr std::size_t kEnvironBytesMax = 256 << 10;
// In the high half of the mark, so that a limit somebody else has set is not mistaken for one. Above it is the lane (of
// many, some share a number), the low half is the process id.
constexpr std::uint64_t kMark = 0x6d6967'00000000ULL;
constexpr std::uint64_t kMarkMask = 0xffffff'00000000ULL;
constexpr std::uint64_t kMarkIdMask = 0xffffffffULL;
constexpr int kLaneShift = 56;
constexpr int kLaneNumbers = 64;  // the sum stays far from RLIM_INFINITY
// Added to a process id: what that process, or its next generation, forks from now on.
constexpr std::int64_t kExpectedNext = 0x80000000LL;

void set_mark(pid_t pid, int lane, std::int64_t number) {
  rlimit limit{};
  if (number <= 0 || ::prlimit(pid, RLIMIT_LOCKS, nullptr, &limit) != 0) return;
  const std::uint64_t mark = (static_cast<std::uint64_t>(lane % kLaneNumbers) << kLaneShift) | kMark |
                             (static_cast<std::uint64_t>(number) & kMarkIdMask);
  if (limit.rlim_max < mark) return;  // an unprivileged process can't raise it; the other ways have to do
  limit.rlim_cur = mark;
  ::prlimit(pid, RLIMIT_LOCKS, &limit, nullptr);
}

struct MarkOfProcess {
  int lane = 0;
  std::int64_t number = 0;  // 0: it has none
};
MarkOfProcess mark_of(pid_t pid) {
  rlimit limit{};
  if (::prlimit(pid, RLIMIT_LOCKS, nullptr, &limit) != 0 || (limit.rlim_cur & kMarkMask) != kMark) return {};
  const std::uint64_t lane = limit.rlim_cur >> kLaneShift;
  if (lane >= kLaneNumbers) return {};
  return {static_cast<int>(lane), static_cast<std::int64_t>(limit.rlim_cur & kMarkIdMask)};
}
// The number in the mark of what this lane has started; else 0.
std::int64_t own_mark_of(const ProbeState::Impl& state, pid_t pid) {
  const MarkOfProcess mark = mark_of(pid);
  return mark.lane == state.lane % kLaneNumbers ? mark.number : 0;
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
    if (name.rfind("target:", 0) == 0 || name.rfind("qemu:", 0) == 0 || name.rfind("libvirtd:", 0) == 0 ||
        name == "harness")
      return name;
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
  // A wrapper's child takes the place of the wrapper.
  adopted[subject.process_id] = {subject.name, subject.pid, subject.process_id};
  if (adopted.size() > kAdoptedMax) adopted.erase(adopted.begin());  // ids grow: the oldest
  set_mark(subject.pid, state.impl().lane, subject.process_id);
  if (const auto stat = proc::read_stat(subject.pid)) remember(state.impl(), subject, *stat);
}

void expect_next_generation(ProbeState::Impl& state, const Subject& subject) {
  if (subject.pid == ::getpid()) return;
  const std::int64_t number = subject.process_id + kExpectedNext;
  if (!state.adopted.try_emplace(number, ProbeState::Impl::Adopted{subject.name, subject.pid, subject.process_id})
           .second) {
    return;
  }
  // Numbers grow among these, too: the oldest.
  const auto first = state.adopted.upper_bound(kExpectedNext);
  if (std::distance(first, state.adopted.end()) > static_cast<std::ptrdiff_t>(kExpectedMax)) state.adopted.erase(first);
  set_mark(subject.pid, state.lane, number);
}

void found_next_generation(ProbeState::Impl& state, std::int64_t old_process_id, const Subject& next) {
  const auto expected = state.adopted.find(old_process_id + kExpectedNext);
  if (expected != state.adopted.end()) expected->second = {next.name, next.pid, next.process_id};
}

void remember(ProbeState::Impl& state, const Subject& subject, const proc::ProcStat& stat) {
  ProbeState::Impl::Ancestor& entry = state.ancestry[stat.pid];
  if (entry.start_ticks != stat.start_ticks || entry.inner_pid == 0)
    entry.inner_pid = proc::innermost_pid(stat.pid).value_or(stat.pid);
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
  const auto adopted = state.adopted.find(own_mark_of(state, stat.pid));
  if (adopted != state.adopted.end()) return {adopted->second.subject, adopted->second.process_id};
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

std::pair<std::string, std::int64_t> generation_of_child(const ProbeState::Impl& state, const Subject& subject,
                                                         const proc::ProcStat& child) {
  const auto own = state.ancestry.find(subject.pid);
  const auto seen = state.ancestry.find(child.pid);
  if (seen != state.ancestry.end() && seen->second.start_ticks == child.start_ticks) {
    const auto parent = state.adopted.find(seen->second.process_id);
    if (parent != state.adopted.end() && parent->second.pid == subject.pid) {
      return {seen->second.subject, seen->second.process_id};
    }
  }
  const auto marked = state.adopted.find(own_mark_of(state, child.pid));
  const bool is_same_pid = marked != state.adopted.end() && marked->second.pid == subject.pid;
  // A pid that was used before by another process of the topology had another start time, and so had its children.
  const bool is_young = own == state.ancestry.end() || own->second.start_ticks <= child.start_ticks;
  if (is_same_pid && is_young) return {marked->second.subject, marked->second.process_id};
  return {subject.name, subject.process_id};
}

bool descends_by_mark(const ProbeState::Impl& state, pid_t pid) {
  const auto adopted = state.adopted.find(own_mark_of(state, pid));
  return adopted != state.adopted.end() && adopted->second.pid != pid;
}

bool is_of_another_lane(const ProbeState::Impl& state, pid_t pid) {
  const MarkOfProcess mark = mark_of(pid);
  return mark.number != 0 && mark.lane != state.lane % kLaneNumbers;
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
