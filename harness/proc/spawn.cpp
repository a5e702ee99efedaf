// GCC 12 sees a null pointer in asio's inlined scheduler where there is none (its thread-local call stack).
#pragma GCC diagnostic ignored "-Wnull-dereference"

#include "proc/spawn.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/process/v2/posix/default_launcher.hpp>
#include <boost/process/v2/process.hpp>
#include <cerrno>
#include <climits>
#include <cstring>

#include "base/deadline.h"
#include "base/text.h"
#include "proc/program.h"

namespace migsoak::proc {

namespace {

namespace bp = boost::process::v2;
using boost::system::error_code;

enum class Stage : int {
  none,
  death_signal,
  parent_gone,
  group,
  working_dir,
  descriptors,
  birth_set,
  nofile,
  exec,
};

// What the child says about itself when it can't become the program. `detail`: the descriptor in question.
struct ChildFailure {
  Stage stage = Stage::none;
  int errno_value = 0;
  int detail = -1;
};

// Everything the child needs, laid out before fork(): after it only async-signal-safe calls are made
// (signal-safety(7)), because another thread may have held any lock at that moment.
struct BirthPlan {
  const SpawnRequest* request = nullptr;
  std::vector<std::pair<int, int>> fds;  // child's number, a copy's number (filled in the child)
  int failure_fd = -1;                   // above every number in `fds`
  int spare_base = 0;                    // numbers from here on are free for copies
};

// Boost.Process v2 initializer. It execs by itself and never lets the default launcher (1.81) go on in the child:
//  - the launcher's close_all() compares an index with itself and so closes nothing in the gaps below the highest
//    descriptor on its list: the child would be born with some of the harness's descriptors;
//  - after a failure it calls exit(3), which would run our atexit handlers, flush our buffers twice and may wait for a
//    lock that another thread held at the fork; its on_exec_error hook is never called (its detection expects other
//    arguments than it passes). Every failure leaves through _exit() here, and is told through a pipe of our own;
//  - the parent reads its error pipe, without a deadline, until the child has exec'ed: the child closes it first of
//  all,
//    which also frees its number.
class BirthInitializer {
 public:
  explicit BirthInitializer(BirthPlan& plan) : plan_(plan) {}

  template <typename Launcher, typename Path>
  error_code on_exec_setup(Launcher& launcher, const Path& executable, const char* const*(&arguments)) {
    const SpawnRequest& request = *plan_.request;
    ::close(launcher.fd_whitelist.back());  // its error pipe, which the launcher appends last
    if (request.die_with_parent && ::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) die(Stage::death_signal);
    // The harness may have died before the line above took effect.
    if (request.die_with_parent && ::getppid() != request.parent_seen_by_child) die(Stage::parent_gone);
    if (request.own_session ? ::setsid() < 0 : ::setpgid(0, 0) != 0) die(Stage::group);
    if (!request.working_dir.empty() && ::chdir(request.working_dir.c_str()) != 0) die(Stage::working_dir);

    place_descriptors();
    check_birth_set();
    // After the check, which needs a free number; limits what comes, not what is open.
    if (request.nofile) {
      const rlimit limit{*request.nofile, *request.nofile};
      if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) die(Stage::nofile);
    }
    reset_signals();
    ::execve(executable.c_str(), const_cast<char* const*>(arguments), const_cast<char* const*>(launcher.env));
    die(Stage::exec);
  }

 private:
  [[noreturn]] void die(Stage stage, int detail = -1) {
    const ChildFailure failure{stage, errno, detail};
    if (::write(plan_.failure_fd, &failure, sizeof failure) < 0) ::_exit(126);
    ::_exit(127);
  }

  void place_descriptors() {
    for (auto& [number, copy] : plan_.fds) {
      // A copy first: the target number of one may be the source number of another.
      const int source = plan_.request->fds.find(number)->second;
      copy = ::fcntl(source, F_DUPFD_CLOEXEC, plan_.spare_base);
      if (copy < 0) die(Stage::descriptors, number);
    }
    if (::syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) != 0) die(Stage::descriptors);
    for (const auto& [number, copy] : plan_.fds) {
      if (::dup2(copy, number) < 0) die(Stage::descriptors, number);
    }
  }

  // The set that survives exec must be the declared one, as the kernel sees it.
  void check_birth_set() {
    const int directory = ::open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) die(Stage::birth_set);
    std::size_t found = 0;
    alignas(dirent64) char buffer[4096];
    for (;;) {
      const long bytes = ::syscall(SYS_getdents64, directory, buffer, sizeof buffer);
      if (bytes < 0) die(Stage::birth_set);
      if (bytes == 0) break;
      for (long offset = 0; offset < bytes;) {
        const auto* entry = reinterpret_cast<const dirent64*>(buffer + offset);
        offset += entry->d_reclen;
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
        int fd = 0;
        for (const char* digit = entry->d_name; *digit != '\0'; ++digit) fd = fd * 10 + (*digit - '0');
        const int flags = ::fcntl(fd, F_GETFD);
        if (flags < 0 || (flags & FD_CLOEXEC) != 0) continue;
        bool declared = false;
        for (const auto& [number, copy] : plan_.fds) declared = declared || number == fd;
        if (!declared) {
          errno = 0;
          die(Stage::birth_set, fd);
        }
        ++found;
      }
    }
    ::close(directory);
    errno = 0;
    if (found != plan_.fds.size()) die(Stage::birth_set);
  }

  // Ignored signals and the mask survive exec (execve(2), signal(7)).
  static void reset_signals() {
    struct sigaction standard {};
    standard.sa_handler = SIG_DFL;
    for (int number = 1; number < NSIG; ++number) ::sigaction(number, &standard, nullptr);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
  }

  BirthPlan& plan_;
};

std::string describe(const ChildFailure& failure, const SpawnRequest& request) {
  const std::string reason = failure.errno_value != 0 ? std::string(": ") + std::strerror(failure.errno_value) : "";
  switch (failure.stage) {
    case Stage::none: break;
    case Stage::death_signal: return "prctl(PR_SET_PDEATHSIG) failed" + reason;
    case Stage::parent_gone: return "the harness died while it was being started";
    case Stage::group: return "no process group of its own" + reason;
    case Stage::working_dir: return "can't change to directory " + base::printable(request.working_dir) + reason;
    case Stage::descriptors:
      return "can't set up descriptor " + std::to_string(failure.detail) + " of the child" + reason;
    case Stage::birth_set:
      return "the child would be born with a wrong set of descriptors (descriptor " + std::to_string(failure.detail) +
             ")" + reason;
    case Stage::nofile: return "can't set RLIMIT_NOFILE to " + std::to_string(request.nofile.value_or(0)) + reason;
    case Stage::exec: return "can't execute it" + reason;
  }
  return "failed" + reason;
}

// One that has ended or was killed. What the kernel won't let go of (a file system that hangs) is not waited for.
void reap_failed_child(pid_t pid) {
  constexpr std::chrono::seconds kReapMax{5};
  if (pid <= 0) return;
  const base::UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd.valid() || !wait_readable(pidfd.get(), base::Deadline::in(kReapMax))) return;
  int status = 0;
  (void)reap(pidfd.get(), status);
}

// One go. `failure` tells what the child reported, if anything.
// One fork from its pipes to its verdict; each step needs the locals of the last.
// NOLINTNEXTLINE(readability-function-size)
base::Result<pid_t> launch(const SpawnRequest& request, const std::string& executable, ChildFailure& failure) {
  BirthPlan plan;
  plan.request = &request;
  int highest = 2;
  for (const auto& [number, source] : request.fds) {
    plan.fds.emplace_back(number, -1);
    highest = std::max(highest, number);
  }
  plan.spare_base = highest + 1;

  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return base::fail_errno("no pipe for starting " + request.name, errno);
  const base::UniqueFd failure_reader(ends[0]);
  base::UniqueFd low_writer(ends[1]);
  base::UniqueFd failure_writer(::fcntl(low_writer.get(), F_DUPFD_CLOEXEC, plan.spare_base));
  if (!failure_writer.valid()) return base::fail_errno("no descriptor for starting " + request.name, errno);
  low_writer.reset();
  plan.failure_fd = failure_writer.get();

  std::vector<const char*> environment;
  environment.reserve(request.environment.size() + 1);
  for (const std::string& entry : request.environment) environment.push_back(entry.c_str());
  environment.push_back(nullptr);

  pid_t pid = -1;
  std::string trouble;
  try {
    // A context of its own: the launcher calls notify_fork() in the child, and the lane's context has other users.
    boost::asio::io_context context(1);
    bp::posix::default_launcher launcher;
    launcher.env = environment.data();
    const std::vector<std::string> arguments(request.argv.begin() + 1, request.argv.end());
    error_code ec;
    auto process =
        launcher(context.get_executor(), ec, bp::filesystem::path(executable), arguments, BirthInitializer(plan));
    pid = launcher.pid;
    if (ec) trouble = ec.message();
    // Not Boost's to wait for: its wait (1.81) is waitpid(2) by number, and its destructor kills by number; ours
    // holds a pidfd, which can't come to mean another process.
    if (process.is_open()) process.detach();
  } catch (const std::exception& error) {
    trouble = error.what();
  }
  failure_writer.reset();

  ssize_t bytes = 0;
  if (pid > 0) {
    if (!wait_readable(failure_reader.get(), base::Deadline::in(request.exec_max))) {
      ::kill(pid, SIGKILL);
      reap_failed_child(pid);
      return base::fail(base::ErrorKind::environment,
                        "it was not executed within " + std::to_string(request.exec_max.count()) +
                            " ms: does the file system hang that it, or its working directory, is on?");
    }
    do {  // does not block: it is readable
      bytes = ::read(failure_reader.get(), &failure, sizeof failure);
    } while (bytes < 0 && errno == EINTR);
  }
  if (bytes == static_cast<ssize_t>(sizeof failure)) {
    reap_failed_child(pid);
    return base::fail(base::ErrorKind::environment, describe(failure, request));
  }
  failure = {};
  if (!trouble.empty()) {
    if (pid > 0) ::kill(pid, SIGKILL);
    reap_failed_child(pid);
    return base::fail(base::ErrorKind::environment, trouble);
  }
  return pid;
}

// find_program(), where not to find one is the environment's fault: by now the input has been checked.
base::Result<std::string> program_to_start(const std::string& name, const std::string& context) {
  auto found = find_program(name);
  if (found) return found;
  found.error().kind = base::ErrorKind::environment;
  return tl::unexpected<base::Error>(std::move(found.error()).with_context(context));
}

}  // namespace

std::vector<std::string> merged_environment(const std::map<std::string, std::string>& changes) {
  std::vector<std::string> merged;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (changes.count(text.substr(0, text.find('='))) == 0) merged.push_back(text);
  }
  for (const auto& [name, value] : changes) merged.push_back(name + "=" + value);
  return merged;
}

base::Result<Spawned> spawn_process(const SpawnRequest& request) {
  if (request.argv.empty()) return base::fail(base::ErrorKind::environment, "no command for " + request.name);
  const std::string context = "can't start " + request.name;
  std::string executable = request.argv.front();
  // A path is not looked at beforehand: where its file system hangs, so would we. The child may, it has a deadline.
  const bool is_path = executable.find('/') != std::string::npos;
  if (!is_path) {
    MIGSOAK_ASSIGN(executable, program_to_start(executable, context));
  }
  ChildFailure failure;
  base::Result<pid_t> pid = launch(request, executable, failure);
  if (!pid && failure.stage == Stage::exec && is_path) {
    MIGSOAK_TRY(program_to_start(executable, context));  // which knows better why
  }
  if (!pid) {
    pid.error().message += " (" + base::printable(executable) + ")";
    return tl::unexpected<base::Error>(std::move(pid.error()).with_context(context));
  }
  Spawned spawned{*pid, base::UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, *pid, 0)))};
  if (!spawned.pidfd.valid()) {
    const int saved = errno;
    ::kill(*pid, SIGKILL);
    reap_failed_child(*pid);
    return base::fail_errno(context + ": pidfd_open", saved);
  }
  return spawned;
}

ReapOutcome reap(int pidfd, int& wait_status) {
  siginfo_t info{};
  // Not in glibc 2.36's idtype_t as a macro everywhere: P_PIDFD is 3 (waitid(2)).
  int result = 0;
  do {
    result = ::waitid(static_cast<idtype_t>(3), static_cast<id_t>(pidfd), &info, WEXITED | WNOHANG);
  } while (result != 0 && errno == EINTR);
  if (result != 0) return ReapOutcome::lost;
  if (info.si_pid == 0) return ReapOutcome::running;
  // The encoding of wait(2): exit code in bits 8..15, signal in 0..6, core flag in bit 7.
  if (info.si_code == CLD_EXITED) {
    wait_status = (info.si_status & 0xff) << 8;
  } else {
    wait_status = (info.si_status & 0x7f) | (info.si_code == CLD_DUMPED ? 0x80 : 0);
  }
  return ReapOutcome::reaped;
}

bool wait_readable(int fd, base::Deadline deadline) {
  for (;;) {
    pollfd entry{fd, POLLIN, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(deadline.left().count()));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

}  // namespace migsoak::proc
