#include "target/listening_target.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <set>

#include "base/text.h"
#include "proc/proc_fs.h"
#include "proc/run_dir.h"

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

}  // namespace

base::Result<std::string> socket_path(const TargetSpec& spec, const std::string& suffix) {
  constexpr std::string_view prefix = "target:";
  std::string name = spec.process.rfind(prefix, 0) == 0 ? spec.process.substr(prefix.size()) : spec.name;
  std::string file = name + suffix;
  for (char& c : file) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-_.@").find(c) != std::string_view::npos;
    if (!plain) c = '_';
  }
  const std::string path = spec.run_dir + "/" + file;
  MIGSOAK_TRY(proc::check_socket_path(path));
  return path;
}

ListeningTarget::ListeningTarget(proc::Reactor& reactor, proc::Containment& containment, TargetSpec spec)
    : reactor_(reactor), containment_(containment), spec_(std::move(spec)) {}

base::Result<std::unique_ptr<Target>> ListeningTarget::start(proc::Reactor& reactor, proc::Containment& containment,
                                                             TargetSpec spec, CommandLine command) {
  std::unique_ptr<ListeningTarget> target(new ListeningTarget(reactor, containment, std::move(spec)));
  target->sockets_ = std::move(command.sockets);
  target->any_slot_ = command.any_slot;
  target->argv_ = target->spec_.wrapper;
  target->argv_.insert(target->argv_.end(), command.argv.begin(), command.argv.end());
  MIGSOAK_TRY(target->spawn(/*again=*/false));
  return std::unique_ptr<Target>(std::move(target));
}

base::Result<void> ListeningTarget::spawn(bool again) {
  // A predecessor that was killed leaves its socket file behind, and bind(2) on it fails with EADDRINUSE.
  remove_sockets();
  proc::SpawnSpec child;
  child.name = spec_.process.empty() ? "target:" + spec_.name : spec_.process;
  child.argv = argv_;
  child.env = spec_.env;
  // Inherited by whatever it forks: an orphan found later still tells whose it is.
  child.env.emplace("MIGSOAK_PROCESS", child.name);
  child.nofile = spec_.nofile;
  child.log_file = spec_.log_file;
  child.log_append = again;
  MIGSOAK_ASSIGN(child_, proc::ChildProcess::spawn(reactor_, containment_, std::move(child)));
  pid_ = child_->pid();
  start_ticks_ = child_->start_ticks();
  return {};
}

ListeningTarget::~ListeningTarget() {
  // Behind a wrapper that forked, killing the wrapper would leave the target itself running.
  if (child_ && pid_ != child_->pid() && own_process_lives()) ::kill(pid_, SIGKILL);
  child_.reset();
  remove_sockets();
}

void ListeningTarget::remove_sockets() {
  for (const auto& [slot, path] : sockets_) {
    if (is_socket_file(path)) ::unlink(path.c_str());
  }
}

std::uint64_t ListeningTarget::listening_inode() const {
  const auto table = proc::read_unix_sockets();
  if (!table) return 0;
  std::map<std::string, std::uint64_t> listening;
  for (const auto& [inode, socket] : *table) {
    if (socket.listening) listening.emplace(socket.path, inode);
  }
  std::uint64_t found = 0;
  for (const auto& [slot, path] : sockets_) {
    const auto it = listening.find(path);
    if (it == listening.end()) return 0;
    found = it->second;
  }
  return found;
}

void ListeningTarget::find_pid(std::uint64_t listening) {
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

base::Result<bool> ListeningTarget::ready() {
  if (child_->exited()) {
    const auto status = child_->exit_status();
    const std::string lines = base::join(child_->last_lines(), " | ");
    return base::fail(base::ErrorKind::subject,
                      fmt::format("{} ended before it listened: {}{}", spec_.process,
                                  status ? proc::to_string(*status) : std::string("status unknown"),
                                  lines.empty() ? "" : "; last output: " + base::printable(lines, 1200)));
  }
  const std::uint64_t listening = listening_inode();
  if (listening == 0) return false;
  find_pid(listening);
  return true;
}

base::Result<void> ListeningTarget::wait_ready(base::Deadline deadline) {
  const auto began = base::Clock::now();
  base::Result<bool> state = false;
  const auto known = [&] {
    state = ready();
    return !state || *state;
  };
  const proc::Wait wait = reactor_.run_until(known, deadline, kListenRecheck);
  if (wait == proc::Wait::interrupted) {
    return base::fail(base::ErrorKind::interrupted, fmt::format("stopped while waiting for {}", spec_.process));
  }
  if (!state) return tl::unexpected(std::move(state.error()));
  if (wait == proc::Wait::ready) return {};
  const auto stat = proc::read_stat(child_->pid());
  std::vector<std::string> paths;
  for (const auto& [slot, path] : sockets_) paths.push_back(path);
  return base::fail(base::ErrorKind::timeout,
                    fmt::format("{} did not listen on {} within {:.0f} ms (process state {})", spec_.process,
                                base::join(paths, ", "), base::milliseconds_between(began, base::Clock::now()),
                                stat ? std::string(1, stat->state) : std::string("unknown")));
}

std::string ListeningTarget::socket(const std::string& disk, const std::string& slot) const {
  if (any_slot_) return sockets_.begin()->second;
  const auto it = sockets_.find(socket_key(disk, slot));
  assert(it != sockets_.end() && "a slot that the spec did not ask for");
  return it->second;
}

bool ListeningTarget::has_spare_slots() const {
  return !any_slot_ && spec_.slots.size() >= 3;
}

bool ListeningTarget::own_process_lives() const {
  const auto stat = proc::read_stat(pid_);
  return stat && stat->start_ticks == start_ticks_ && stat->state != 'Z' && stat->state != 'X';
}

proc::ExitStatus ListeningTarget::stop(std::chrono::milliseconds grace) {
  // A wrapper need not pass signals on: ask the target itself, then the wrapper.
  const bool behind_wrapper = pid_ != child_->pid();
  if (behind_wrapper && own_process_lives()) {
    ::kill(pid_, SIGTERM);
    const base::Deadline deadline = base::Deadline::in(grace);
    reactor_.run_until([&] { return child_->exited() || !own_process_lives(); }, deadline, kListenRecheck);
    if (own_process_lives()) ::kill(pid_, SIGKILL);
  }
  const proc::ExitStatus status = child_->stop(grace);
  remove_sockets();
  return status;
}

void ListeningTarget::begin_stop(StopHow how) {
  const int number = how == StopHow::kill ? SIGKILL : SIGTERM;
  // A wrapper need not pass signals on, and may have more to do when the target has ended: it is only killed.
  if (pid_ == child_->pid()) {
    (void)child_->signal(number);
    return;
  }
  if (own_process_lives()) ::kill(pid_, number);
  if (how == StopHow::kill) (void)child_->signal(number);
}

bool ListeningTarget::stopped() {
  return child_->exited() && !own_process_lives();
}

base::Result<void> ListeningTarget::start_again() {
  assert(stopped() && "two processes would serve one image");
  return spawn(/*again=*/true);
}

}  // namespace migsoak::target
