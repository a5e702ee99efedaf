#include "proc/containment.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <set>

#include "base/deadline.h"
#include "base/log.h"
#include "base/unique_fd.h"
#include "proc/guardian.h"
#include "proc/look_until.h"
#include "proc/proc_fs.h"
#include "proc/process_tree.h"
#include "proc/spawn.h"
#include "proc/spawner_thread.h"

namespace migsoak::proc {

namespace {

constexpr auto kGuardianStartMax = std::chrono::seconds(10);
constexpr auto kGuardianEndMax = std::chrono::seconds(10);
constexpr auto kLastKillMax = std::chrono::seconds(10);
constexpr int kGuardianFdInChild = 3;

// Children of this harness that a ChildProcess (or a Containment) waits for; process-wide because a harness may hold
// more than one Containment, and a stray is any child that none of them owns.
struct OwnedChildren {
  // Held from fork to adoption: a child must not be taken for a stray in between.
  std::mutex birth;
  std::mutex mutex;
  std::set<pid_t> pids;
};
OwnedChildren& owned_children() {
  static OwnedChildren owned;
  return owned;
}
bool is_owned(pid_t pid) {
  OwnedChildren& owned = owned_children();
  const std::lock_guard lock(owned.mutex);
  return owned.pids.count(pid) > 0;
}

bool marker_forced() {
  const char* wanted = std::getenv("MIGSOAK_CONTAINMENT");
  return wanted != nullptr && std::string(wanted) == "marker";
}

void append_unique(std::vector<pid_t>& list, pid_t pid) {
  if (std::find(list.begin(), list.end(), pid) == list.end()) list.push_back(pid);
}

bool is_zombie_child_of(pid_t pid, pid_t parent) {
  const base::Result<ProcStat> stat = read_stat(pid);
  return stat && stat->state == 'Z' && stat->parent == parent;
}

}  // namespace

std::string to_string(ContainmentLevel level) {
  return level == ContainmentLevel::pid_namespace ? "pid-namespace" : "marker";
}

struct Containment::Impl {
  ContainmentOptions options;
  ContainmentLevel level = ContainmentLevel::marker;
  SpawnerThread spawner;
  Spawned guardian;
  base::UniqueFd guardian_socket;
  base::UniqueFd own_namespace;    // of the harness, and
  base::UniqueFd inner_namespace;  // of its children, when there is one
  bool guardian_gone = false;
  mutable std::mutex mutex;
  std::set<pid_t> mine;  // direct children of the harness that were spawned through this containment

  base::Result<void> start_guardian();
  bool tell_guardian(char command) const {
    return ::send(guardian_socket.get(), &command, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
  }
  pid_t parent_seen_by_child() const { return level == ContainmentLevel::pid_namespace ? 0 : ::getpid(); }
  std::vector<pid_t> adopted_strays() const;
  std::vector<pid_t> processes() const;
  void end_guardian();
};

base::Result<void> Containment::Impl::start_guardian() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return base::fail_errno("no socket for the guardian", errno);
  }
  guardian_socket.reset(ends[0]);
  const base::UniqueFd theirs(ends[1]);
  const base::UniqueFd null_device(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null_device.valid()) return base::fail_errno("can't open /dev/null", errno);

  SpawnRequest request;
  request.name = "the guardian";
  request.argv = {options.guardian_executable.empty() ? "/proc/self/exe" : options.guardian_executable,
                  "guardian",
                  "--pipe-fd",
                  std::to_string(kGuardianFdInChild),
                  "--run-dir",
                  options.run_dir,
                  "--run-id",
                  options.run_id,
                  "--level",
                  to_string(level)};
  request.environment = merged_environment({});
  request.fds = {
      {0, null_device.get()}, {1, null_device.get()}, {2, null_device.get()}, {kGuardianFdInChild, theirs.get()}};
  request.own_session = true;
  // It must outlive the harness for a moment: end-of-file on the socket tells it as fast as a signal would.
  request.die_with_parent = false;
  base::Result<Spawned> spawned = base::fail(base::ErrorKind::environment, "the spawner thread did not answer");
  spawner.run([&] {
    OwnedChildren& owned = owned_children();
    const std::lock_guard birth(owned.birth);
    spawned = spawn_process(request);
    const std::lock_guard lock(owned.mutex);
    if (spawned) owned.pids.insert(spawned->pid);
  });
  if (!spawned) return tl::unexpected<base::Error>(std::move(spawned.error()));
  guardian = std::move(*spawned);
  return {};
}

// Without a PID namespace the harness is the subreaper: what has no owner among its children is a stray. Dead ones are
// reaped here, as the guardian does for its own.
std::vector<pid_t> Containment::Impl::adopted_strays() const {
  std::vector<pid_t> strays;
  const std::lock_guard no_births(owned_children().birth);
  for (const pid_t pid : children_of(::getpid())) {
    if (is_owned(pid)) continue;
    if (is_zombie_child_of(pid, ::getpid())) {
      siginfo_t info{};
      ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG);
      continue;
    }
    // Who has no environment to show can only have become our child as a descendant.
    if (has_marker(pid, options.run_id, /*without=*/true)) strays.push_back(pid);
  }
  return strays;
}

std::vector<pid_t> Containment::Impl::processes() const {
  std::vector<pid_t> roots;
  {
    const std::lock_guard lock(mutex);
    roots.assign(mine.begin(), mine.end());
  }
  std::vector<pid_t> found = roots;
  if (level == ContainmentLevel::marker) {
    for (const pid_t pid : adopted_strays()) append_unique(found, pid);
  } else {
    for (const pid_t pid : children_of(guardian.pid)) append_unique(found, pid);
  }
  for (std::size_t i = 0; i < found.size(); ++i) {
    for (const pid_t pid : children_of(found[i])) append_unique(found, pid);
  }
  return found;
}

void Containment::Impl::end_guardian() {
  if (guardian.pid == 0 || guardian_gone) return;
  guardian_gone = true;
  tell_guardian(kGuardianQuit);
  guardian_socket.reset();
  if (!wait_readable(guardian.pidfd.get(), base::Deadline::in(kGuardianEndMax))) {
    spdlog::warn("the guardian (pid {}) did not end in time; killing it", guardian.pid);
    ::kill(guardian.pid, SIGKILL);
    wait_readable(guardian.pidfd.get(), base::Deadline::in(kGuardianEndMax));
  }
  int status = 0;
  reap(guardian.pidfd.get(), status);
  OwnedChildren& owned = owned_children();
  const std::lock_guard lock(owned.mutex);
  owned.pids.erase(guardian.pid);
}

Containment::Containment(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

base::Result<std::unique_ptr<Containment>> Containment::start(ContainmentOptions options) {
  // All pids that we read come from /proc, and all that we use come from the kernel: they must mean the same.
  char self[32] = {};
  if (::readlink("/proc/self", self, sizeof self - 1) <= 0 || std::to_string(::getpid()) != self) {
    return base::fail(base::ErrorKind::environment,
                      "/proc is missing or belongs to another PID namespace than ours; mount the right one");
  }
  auto impl = std::make_unique<Impl>();
  impl->options = std::move(options);
  // Two of one name may run side by side (two runs of a scenario that start in one second, two `compat`), and who ends
  // kills all that bear its marker.
  impl->options.run_id += fmt::format(".{}-{:x}", ::getpid(), base::Clock::now().time_since_epoch().count());
  if (!marker_forced()) {
    int failed = 0;
    impl->spawner.run([&failed] { failed = ::unshare(CLONE_NEWPID) == 0 ? 0 : errno; });
    if (failed == 0) {
      impl->level = ContainmentLevel::pid_namespace;
    } else {
      spdlog::info("no PID namespace (errno {}): processes are contained by their marker", failed);
    }
  }
  if (impl->level == ContainmentLevel::marker) ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);

  MIGSOAK_TRY(impl->start_guardian(), "process containment");
  if (impl->level == ContainmentLevel::pid_namespace) {
    const std::string inner = "/proc/" + std::to_string(impl->guardian.pid) + "/ns/pid";
    impl->own_namespace.reset(::open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC));
    impl->inner_namespace.reset(::open(inner.c_str(), O_RDONLY | O_CLOEXEC));
  }
  std::unique_ptr<Containment> containment(new Containment(std::move(impl)));
  // It says hello once signals can't reach it any more.
  char hello = 0;
  const int socket = containment->impl_->guardian_socket.get();
  if (!wait_readable(socket, base::Deadline::in(kGuardianStartMax)) || ::recv(socket, &hello, 1, MSG_DONTWAIT) != 1 ||
      hello != kGuardianReady) {
    return base::fail(base::ErrorKind::environment,
                      "process containment: the guardian did not come up (does the executable know `guardian`?)");
  }
  return containment;
}

std::unique_ptr<Containment> Containment::without_processes() {
  return std::unique_ptr<Containment>(new Containment(std::make_unique<Impl>()));
}

Containment::~Containment() {
  if (impl_->guardian.pid == 0) return;
  if (auto killed = kill_all(base::Deadline::in(kLastKillMax)); !killed) spdlog::warn("{}", killed.error().describe());
  // A PID namespace ends only when its last process, zombies included, has been waited for (pid_namespaces(7)).
  std::set<pid_t> left;
  {
    const std::lock_guard lock(impl_->mutex);
    left = impl_->mine;
  }
  for (const pid_t pid : left) {
    siginfo_t info{};
    ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG);
    disown(pid);
  }
  impl_->end_guardian();
}

ContainmentLevel Containment::level() const {
  return impl_->level;
}
pid_t Containment::guardian_pid() const {
  return impl_->guardian.pid;
}
bool Containment::guardian_alive() const {
  // Its end of the socket closes before its namespace refuses births; the pidfd tells only when all inside are gone.
  char byte = 0;
  return !impl_->guardian_gone && ::recv(impl_->guardian_socket.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0;
}
const std::string& Containment::run_id() const {
  return impl_->options.run_id;
}
pid_t Containment::parent_seen_by_child() const {
  return impl_->parent_seen_by_child();
}

void Containment::on_spawner_thread(const std::function<void()>& job) {
  impl_->spawner.run([&job] {
    const std::lock_guard birth(owned_children().birth);
    job();
  });
}

void Containment::adopt(pid_t pid) {
  {
    OwnedChildren& owned = owned_children();
    const std::lock_guard lock(owned.mutex);
    owned.pids.insert(pid);
  }
  const std::lock_guard lock(impl_->mutex);
  impl_->mine.insert(pid);
}

void Containment::disown(pid_t pid) {
  {
    OwnedChildren& owned = owned_children();
    const std::lock_guard lock(owned.mutex);
    owned.pids.erase(pid);
  }
  const std::lock_guard lock(impl_->mutex);
  impl_->mine.erase(pid);
}

void Containment::on_spawner_thread_outside(const std::function<void()>& job) {
  if (impl_->level == ContainmentLevel::marker) return on_spawner_thread(job);
  on_spawner_thread([this, &job] {
    // setns(2) with a PID namespace, too, concerns children only.
    if (::setns(impl_->own_namespace.get(), CLONE_NEWPID) != 0) {
      spdlog::error("can't fork outside the PID namespace (errno {})", errno);
      return;
    }
    job();
    // Going on with a thread whose children nobody contains would break every promise made here.
    if (::setns(impl_->inner_namespace.get(), CLONE_NEWPID) != 0) std::abort();
  });
}

std::vector<pid_t> Containment::processes() const {
  return impl_->processes();
}

std::vector<pid_t> Containment::reparented() const {
  return impl_->level == ContainmentLevel::marker ? impl_->adopted_strays() : children_of(impl_->guardian.pid);
}

base::Result<void> Containment::kill_all(base::Deadline deadline) {
  int round = 0;
  std::vector<pid_t> left;
  const auto all_gone = [&] {
    left.clear();
    for (const pid_t pid : processes()) {
      if (!is_zombie_child_of(pid, ::getpid())) left.push_back(pid);
    }
    if (left.empty()) return true;
    // Inside the namespace one call reaches everything at once, with no race against pids or forks. What was started
    // outside needs its own.
    const bool told = impl_->level == ContainmentLevel::pid_namespace && impl_->tell_guardian(kGuardianKill);
    if (!told || round > 0) {
      for (const pid_t pid : left) ::kill(pid, SIGKILL);
    }
    ++round;
    return false;
  };
  if (look_until(all_gone, deadline, std::chrono::milliseconds(5))) return {};
  return base::fail(base::ErrorKind::timeout, std::to_string(left.size()) +
                                                  " processes of the run could not be killed, the first is pid " +
                                                  std::to_string(left.front()));
}

}  // namespace migsoak::proc
