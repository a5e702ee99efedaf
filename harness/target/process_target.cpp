#include "target/process_target.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <map>
#include <set>

#include "base/text.h"
#include "proc/proc_fs.h"

namespace migsoak::target {

namespace {

// Listening is announced by nobody: the table of sockets is read this often until it shows. A target needs 3 ms or
// more.
constexpr std::chrono::milliseconds kListenRecheck{3};

bool is_socket_file(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode);
}

bool holds_socket(pid_t pid, std::uint64_t inode) {
  const auto fds = proc::read_fds(pid);
  if (!fds) return false;
  return std::any_of(fds->begin(), fds->end(), [&](const proc::FdEntry& entry) {
    return entry.inode == inode && (entry.kind == "socket" || entry.kind == "unix");
  });
}

// `root` and its descendants, nearest first.
std::vector<pid_t> process_tree(pid_t root) {
  std::vector<pid_t> tree{root};
  std::set<pid_t> seen{root};
  for (std::size_t i = 0; i < tree.size(); ++i) {
    for (const pid_t child : proc::children_of(tree[i])) {
      if (seen.insert(child).second) tree.push_back(child);
    }
  }
  return tree;
}

// The inode of one of these sockets once all listen, else 0.
std::uint64_t listening_inode(const std::vector<std::string>& paths) {
  const auto table = proc::read_unix_sockets();
  if (!table) return 0;
  std::map<std::string, std::uint64_t> listening;
  for (const auto& [inode, socket] : *table) {
    if (socket.listening) listening.emplace(socket.path, inode);
  }
  std::uint64_t found = 0;
  for (const std::string& path : paths) {
    const auto it = listening.find(path);
    if (it == listening.end()) return 0;
    found = it->second;
  }
  return found;
}

}  // namespace

ProcessTarget::ProcessTarget(proc::Reactor& reactor, proc::Containment& containment, const TargetKind& kind,
                             TargetSpec spec, Plan plan)
    : reactor_(reactor), containment_(containment), kind_(kind), spec_(std::move(spec)), plan_(std::move(plan)) {}

base::Result<std::unique_ptr<Target>> ProcessTarget::start(proc::Reactor& reactor, proc::Containment& containment,
                                                           const TargetKind& kind, TargetSpec spec, Plan plan) {
  std::unique_ptr<ProcessTarget> target(
      new ProcessTarget(reactor, containment, kind, std::move(spec), std::move(plan)));
  target->argv_ = target->spec_.wrapper;
  const std::vector<std::string>& own = target->plan_.layout.argv;
  target->argv_.insert(target->argv_.end(), own.begin(), own.end());
  MIGSOAK_TRY(target->spawn(/*again=*/false));
  return std::unique_ptr<Target>(std::move(target));
}

base::Result<void> ProcessTarget::spawn(bool again) {
  // A predecessor that was killed leaves its socket file behind, and bind(2) on it fails with EADDRINUSE.
  remove_sockets();
  if (kind_.prepare != nullptr) MIGSOAK_TRY(kind_.prepare(spec_, plan_.options, plan_.layout));
  proc::SpawnSpec child;
  child.name = spec_.process.empty() ? "target:" + spec_.name : spec_.process;
  child.argv = argv_;
  child.env = spec_.env;
  // Inherited by whatever it forks: an orphan found later still tells whose it is.
  child.env.emplace("MIGSOAK_PROCESS", child.name);
  child.nofile = spec_.nofile;
  child.log_file = spec_.log_file;
  child.log_append = again || spec_.log_append;
  MIGSOAK_ASSIGN(child_, proc::ChildProcess::spawn(reactor_, containment_, std::move(child)));
  configured_ = false;
  pid_ = child_->pid();
  start_ticks_ = child_->start_ticks();
  return {};
}

ProcessTarget::~ProcessTarget() {
  // Behind a wrapper that forked, killing the wrapper would leave the target itself running.
  if (child_ && pid_ != child_->pid() && own_process_lives()) ::kill(pid_, SIGKILL);
  child_.reset();
  remove_sockets();
}

void ProcessTarget::remove_sockets() {
  for (const std::string& path : sockets()) {
    if (is_socket_file(path)) ::unlink(path.c_str());
  }
}

// Without those on which a QEMU listens: they are its own.
std::vector<std::string> ProcessTarget::sockets() const {
  std::set<std::string> paths(plan_.layout.control.begin(), plan_.layout.control.end());
  for (const auto& [key, endpoint] : plan_.layout.endpoints) {
    if (endpoint.listener == Listener::target) paths.insert(endpoint.socket);
  }
  return {paths.begin(), paths.end()};
}

Running ProcessTarget::running() const {
  return {reactor_, containment_, spec_, plan_.options, plan_.layout, *child_};
}

void ProcessTarget::find_pid(std::uint64_t listening) {
  std::vector<pid_t> candidates = process_tree(child_->pid());
  // A daemon that was re-parented away from its wrapper is still inside the containment.
  const std::vector<pid_t> rest = containment_.processes();
  candidates.insert(candidates.end(), rest.begin(), rest.end());
  for (const pid_t candidate : candidates) {
    if (!holds_socket(candidate, listening)) continue;
    const auto stat = proc::read_stat(candidate);
    if (!stat) continue;
    pid_ = candidate;
    start_ticks_ = stat->start_ticks;
    return;
  }
}

// A target that listens on nothing and stands behind a wrapper: the first of its descendants that runs its program.
bool ProcessTarget::find_pid_by_name() {
  const std::string& program = plan_.layout.argv.front();
  const std::string name = program.substr(program.rfind('/') + 1);
  for (const pid_t candidate : process_tree(child_->pid())) {
    const auto stat = proc::read_stat(candidate);
    if (!stat || proc::command_of(candidate) != name) continue;
    pid_ = candidate;
    start_ticks_ = stat->start_ticks;
    return true;
  }
  return false;
}

base::Error ProcessTarget::interrupted() const {
  return {base::ErrorKind::interrupted, fmt::format("stopped while waiting for {}", spec_.process), {}};
}

base::Error ProcessTarget::ended_first() const {
  const auto status = child_->exit_status();
  const std::string lines = base::join(child_->last_lines(), " | ");
  return {base::ErrorKind::subject,
          fmt::format("{} ended before it {}: {}{}", spec_.process,
                      kind_.configure == nullptr || configured_ ? "listened" : "was configured",
                      status ? proc::to_string(*status) : std::string("status unknown"),
                      lines.empty() ? "" : "; last output: " + base::printable(lines, 1200)),
          {}};
}

base::Result<void> ProcessTarget::wait_listening(const std::vector<std::string>& paths, base::Deadline deadline) {
  const auto began = base::Clock::now();
  std::uint64_t listening = 0;
  const auto known = [&] {
    if (child_->exited()) return true;
    listening = listening_inode(paths);
    return listening != 0;
  };
  const proc::Wait wait = reactor_.run_until(known, deadline, kListenRecheck);
  if (wait == proc::Wait::interrupted) return tl::unexpected(interrupted());
  if (listening != 0) {
    find_pid(listening);
    return {};
  }
  if (child_->exited()) return tl::unexpected(ended_first());
  const auto stat = proc::read_stat(child_->pid());
  return base::fail(base::ErrorKind::timeout,
                    fmt::format("{} did not listen on {} within {:.0f} ms (process state {})", spec_.process,
                                base::join(paths, ", "), base::milliseconds_between(began, base::Clock::now()),
                                stat ? std::string(1, stat->state) : std::string("unknown")));
}

base::Result<void> ProcessTarget::configure(base::Deadline deadline) {
  if (!plan_.layout.control.empty()) MIGSOAK_TRY(wait_listening(plan_.layout.control, deadline));
  auto configured = kind_.configure(running(), deadline);
  if (!configured && child_->exited()) return tl::unexpected(ended_first());
  if (!configured) return tl::unexpected(std::move(configured.error()).with_context(spec_.process));
  configured_ = true;
  return {};
}

base::Result<void> ProcessTarget::wait_ready(base::Deadline deadline) {
  if (kind_.configure != nullptr && !configured_) MIGSOAK_TRY(configure(deadline));
  const std::vector<std::string> paths = sockets();
  if (!paths.empty()) return wait_listening(paths, deadline);
  // It listens on nothing: that it runs is all that can be known.
  const bool behind_wrapper = !spec_.wrapper.empty();
  const auto runs = [&] { return child_->exited() || !behind_wrapper || find_pid_by_name(); };
  const proc::Wait wait = reactor_.run_until(runs, deadline, kListenRecheck);
  if (child_->exited()) return tl::unexpected(ended_first());
  if (wait == proc::Wait::ready) return {};
  if (wait == proc::Wait::interrupted) return tl::unexpected(interrupted());
  return base::fail(base::ErrorKind::timeout, fmt::format("{}: its wrapper does not start '{}'", spec_.process,
                                                          base::printable(plan_.layout.argv.front())));
}

const Endpoint& ProcessTarget::connect(const std::string& device, const std::string& slot) const {
  const auto it = plan_.layout.endpoints.find(endpoint_key(device, slot));
  assert(it != plan_.layout.endpoints.end() && "a device or slot that the spec did not ask for");
  return it->second;
}

// Who has one socket for all says nothing of how many clients it takes.
bool ProcessTarget::has_spare_slots() const {
  std::set<std::string> of_first;
  for (const std::string& slot : spec_.slots) of_first.insert(connect(spec_.devices.front().id, slot).socket);
  return of_first.size() >= 3;
}

base::Result<Figures> ProcessTarget::statistics(base::Deadline deadline) {
  if (kind_.statistics == nullptr) return Figures{};
  return kind_.statistics(running(), deadline);
}

bool ProcessTarget::own_process_lives() const {
  const auto stat = proc::read_stat(pid_);
  return stat && stat->start_ticks == start_ticks_ && stat->state != 'Z' && stat->state != 'X';
}

// In its kind's way; where that fails, or is none, by SIGTERM.
void ProcessTarget::ask_to_end() {
  constexpr std::chrono::seconds kAskMax{1};
  if (kind_.ask_to_end != nullptr && kind_.ask_to_end(running(), base::Deadline::in(kAskMax))) return;
  if (own_process_lives()) ::kill(pid_, SIGTERM);
}

proc::ExitStatus ProcessTarget::stop(std::chrono::milliseconds grace) {
  // A wrapper need not pass signals on: ask the target itself, then the wrapper.
  const bool behind_wrapper = pid_ != child_->pid();
  if ((behind_wrapper || kind_.ask_to_end != nullptr) && own_process_lives()) {
    ask_to_end();
    const base::Deadline deadline = base::Deadline::in(grace);
    reactor_.run_until([&] { return child_->exited() || !own_process_lives(); }, deadline, kListenRecheck);
    if (own_process_lives()) ::kill(pid_, SIGKILL);
  }
  const proc::ExitStatus status = child_->stop(grace);
  remove_sockets();
  return status;
}

void ProcessTarget::begin_stop(StopHow how) {
  // A wrapper need not pass signals on, and may have more to do when the target has ended: it is only killed.
  if (how == StopHow::graceful) return ask_to_end();
  if (own_process_lives()) ::kill(pid_, SIGKILL);
  (void)child_->signal(SIGKILL);
}

bool ProcessTarget::stopped() {
  return child_->exited() && !own_process_lives();
}

base::Result<void> ProcessTarget::start_again() {
  assert(stopped() && "two processes would serve one image");
  return spawn(/*again=*/true);
}

}  // namespace migsoak::target
