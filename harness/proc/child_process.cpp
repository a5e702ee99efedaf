// GCC 12 sees a null pointer in asio's inlined scheduler where there is none (its thread-local call stack).
#pragma GCC diagnostic ignored "-Wnull-dereference"

#include "proc/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <optional>

#include "base/log.h"
#include "base/text.h"
#include "proc/output_log.h"
#include "proc/proc_fs.h"
#include "proc/process_tree.h"
#include "proc/spawn.h"

namespace migsoak::proc {

namespace {

namespace asio = boost::asio;
// With the concrete executor: cheaper than any_io_executor.
using Descriptor = asio::posix::basic_stream_descriptor<asio::io_context::executor_type>;

constexpr std::size_t kReadBytes = 64 << 10;
constexpr std::size_t kReadBytesPerHandler = 256 << 10;  // then other handlers have their turn
constexpr std::size_t kDrainBytesMax = 1 << 20;          // at exit, against a grandchild that writes without end
constexpr std::size_t kCommandOutputBytesMax = 1 << 20;
// SIGKILL takes effect at once unless the process is stuck in the kernel (state D); we don't wait for ever for that.
constexpr auto kKillMax = std::chrono::seconds(10);

ExitStatus decode(int wait_status) {
  ExitStatus status;
  if (WIFEXITED(wait_status)) {
    status.exit_code = WEXITSTATUS(wait_status);
  } else if (WIFSIGNALED(wait_status)) {
    status.signal = WTERMSIG(wait_status);
    status.core_dumped = WCOREDUMP(wait_status);
  }
  return status;
}

}  // namespace

std::string to_string(const ExitStatus& status) {
  if (status.signal == 0) return "exit status " + std::to_string(status.exit_code);
  const char* name = ::sigabbrev_np(status.signal);
  std::string text = name != nullptr ? "SIG" + std::string(name) : "signal " + std::to_string(status.signal);
  return status.core_dumped ? text + " (core dumped)" : text;
}

// Shared with the handlers, which hold it weakly: they may be called after the ChildProcess is gone.
struct ChildProcess::Impl : std::enable_shared_from_this<ChildProcess::Impl> {
  Impl(Reactor& the_reactor, Containment& the_containment, SpawnSpec the_spec)
      : reactor(the_reactor),
        containment(the_containment),
        spec(std::move(the_spec)),
        output(the_reactor.io()),
        exit_watch(the_reactor.io()) {}

  base::Result<void> start();
  void watch_output();
  void watch_exit();
  std::size_t drain(std::size_t bytes_max);
  // Learns of the end, without waiting.
  bool check_exit();
  bool kill_and_reap();

  Reactor& reactor;
  Containment& containment;
  SpawnSpec spec;
  Spawned process;
  std::int64_t start_ticks = 0;
  Descriptor output;
  Descriptor exit_watch;  // on a copy of the pidfd, which asio closes
  OutputLog log;
  std::optional<ExitStatus> status;
};

base::Result<void> ChildProcess::Impl::start() {
  if (!containment.takes_processes()) {
    return base::fail(base::ErrorKind::environment, "no process can be started here: " + spec.name);
  }
  MIGSOAK_TRY(log.open(spec.log_file, spec.log_bytes_max, spec.log_append), spec.name);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return base::fail_errno("no pipe for the output of " + spec.name, errno);
  base::UniqueFd reader(ends[0]);
  const base::UniqueFd writer(ends[1]);
  const base::UniqueFd null_device(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!null_device.valid()) return base::fail_errno("can't open /dev/null", errno);

  SpawnRequest request;
  request.name = spec.name;
  request.argv = spec.argv;
  std::map<std::string, std::string> changes = spec.env;
  changes[kRunMarker] = containment.run_id();
  request.environment = merged_environment(changes);
  request.working_dir = spec.working_dir;
  request.nofile = spec.nofile;
  request.fds = {{0, null_device.get()}, {1, writer.get()}, {2, writer.get()}};
  for (const auto& [number, fd] : spec.extra_fds) {
    if (number < 3) return base::fail(base::ErrorKind::bad_input, "descriptors below 3 are not for extra_fds");
    request.fds.emplace(number, fd);
  }
  request.parent_seen_by_child = spec.outside_namespace ? ::getpid() : containment.parent_seen_by_child();

  base::Result<Spawned> spawned = base::fail(base::ErrorKind::environment, "the spawner thread did not answer");
  const auto birth = [&] {
    spawned = spawn_process(request);
    if (spawned) containment.adopt(spawned->pid);
  };
  if (spec.outside_namespace) {
    containment.on_spawner_thread_outside(birth);
  } else {
    containment.on_spawner_thread(birth);
  }
  if (!spawned) {
    // A PID namespace without its first process lets nobody be born: fork(2) says ENOMEM, which would mislead.
    if (!containment.guardian_alive()) spawned.error().message += " (the guardian has died)";
    return tl::unexpected<base::Error>(std::move(spawned.error()));
  }
  process = std::move(*spawned);
  if (const base::Result<ProcStat> stat = read_stat(process.pid)) start_ticks = stat->start_ticks;

  ::fcntl(reader.get(), F_SETFL, O_NONBLOCK);
  boost::system::error_code ec;
  output.assign(reader.get(), ec);
  if (ec)
    return base::fail(base::ErrorKind::environment, "can't watch the output of " + spec.name + ": " + ec.message());
  reader.release();
  base::UniqueFd pidfd(::fcntl(process.pidfd.get(), F_DUPFD_CLOEXEC, 3));
  exit_watch.assign(pidfd.get(), ec);
  if (ec) return base::fail(base::ErrorKind::environment, "can't watch " + spec.name + ": " + ec.message());
  pidfd.release();
  watch_output();
  watch_exit();
  return {};
}

void ChildProcess::Impl::watch_output() {
  output.async_wait(Descriptor::wait_read, [weak = weak_from_this()](const boost::system::error_code& ec) {
    const auto self = weak.lock();
    if (!self || ec || !self->output.is_open()) return;
    self->drain(kReadBytesPerHandler);
    if (self->output.is_open()) self->watch_output();
  });
}

void ChildProcess::Impl::watch_exit() {
  exit_watch.async_wait(Descriptor::wait_read, [weak = weak_from_this()](const boost::system::error_code& ec) {
    const auto self = weak.lock();
    if (!self || ec || self->status) return;
    if (!self->check_exit()) self->watch_exit();
  });
}

// Reads what is in the pipe, at most about `bytes_max`; closes our end at end-of-file.
std::size_t ChildProcess::Impl::drain(std::size_t bytes_max) {
  std::size_t total = 0;
  boost::system::error_code ignored;
  std::string buffer(kReadBytes, '\0');
  while (output.is_open() && total < bytes_max) {
    const ssize_t bytes = ::read(output.native_handle(), buffer.data(), buffer.size());
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0 && errno == EAGAIN) break;
    if (bytes <= 0) {
      output.close(ignored);
      break;
    }
    log.append(std::string_view(buffer.data(), static_cast<std::size_t>(bytes)));
    total += static_cast<std::size_t>(bytes);
  }
  return total;
}

bool ChildProcess::Impl::check_exit() {
  if (status) return true;
  int wait_status = 0;
  const ReapOutcome outcome = reap(process.pidfd.get(), wait_status);
  if (outcome == ReapOutcome::running) return false;
  containment.disown(process.pid);
  // What it wrote before its end is in the pipe by now. Grandchildren may hold the pipe open: not waited for.
  drain(kDrainBytesMax);
  boost::system::error_code ignored;
  output.close(ignored);
  exit_watch.close(ignored);
  log.finish();
  status = outcome == ReapOutcome::reaped ? decode(wait_status) : ExitStatus{};
  return true;
}

// Not through the Reactor: the end must come even when the user has stopped the run.
bool ChildProcess::Impl::kill_and_reap() {
  if (check_exit()) return true;
  ::syscall(SYS_pidfd_send_signal, process.pidfd.get(), SIGKILL, nullptr, 0);
  ::syscall(SYS_pidfd_send_signal, process.pidfd.get(), SIGCONT, nullptr, 0);
  const base::Deadline deadline = base::Deadline::in(kKillMax);
  while (!check_exit()) {
    if (deadline.passed()) {
      spdlog::warn("{} (pid {}) did not end on SIGKILL", spec.name, process.pid);
      return false;
    }
    wait_readable(process.pidfd.get(), deadline);
  }
  return true;
}

ChildProcess::ChildProcess(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

base::Result<std::unique_ptr<ChildProcess>> ChildProcess::spawn(Reactor& reactor, Containment& containment,
                                                                SpawnSpec spec) {
  std::unique_ptr<ChildProcess> child(new ChildProcess(std::make_shared<Impl>(reactor, containment, std::move(spec))));
  MIGSOAK_TRY(child->impl_->start());
  return child;
}

ChildProcess::~ChildProcess() {
  if (impl_ == nullptr || impl_->process.pid == 0 || impl_->status) return;
  if (!impl_->kill_and_reap()) impl_->containment.disown(impl_->process.pid);
}

pid_t ChildProcess::pid() const {
  return impl_->process.pid;
}
std::int64_t ChildProcess::start_ticks() const {
  return impl_->start_ticks;
}
const SpawnSpec& ChildProcess::spec() const {
  return impl_->spec;
}
bool ChildProcess::exited() const {
  return impl_->check_exit();
}
std::optional<ExitStatus> ChildProcess::exit_status() const {
  return impl_->status;
}

base::Result<void> ChildProcess::signal(int number) {
  if (exited()) {
    return base::fail(base::ErrorKind::subject, impl_->spec.name + " has ended: " + to_string(*impl_->status));
  }
  if (::syscall(SYS_pidfd_send_signal, impl_->process.pidfd.get(), number, nullptr, 0) != 0) {
    return base::fail_errno("can't signal " + impl_->spec.name, errno);
  }
  return {};
}

base::Result<ExitStatus> ChildProcess::wait_exit(base::Deadline deadline) {
  switch (impl_->reactor.run_until([this] { return exited(); }, deadline)) {
    case Wait::ready: return *impl_->status;
    case Wait::interrupted:
      return base::fail(base::ErrorKind::interrupted, "stopped while waiting for " + impl_->spec.name);
    case Wait::timeout: break;
  }
  return base::fail(base::ErrorKind::timeout,
                    impl_->spec.name + " (pid " + std::to_string(pid()) + ") did not end in time");
}

ExitStatus ChildProcess::stop(std::chrono::milliseconds grace) {
  if (signal(SIGTERM)) impl_->reactor.run_until([this] { return exited(); }, base::Deadline::in(grace));
  impl_->kill_and_reap();
  return impl_->status.value_or(ExitStatus{-1, SIGKILL, false});
}

std::vector<std::string> ChildProcess::take_lines() {
  return impl_->log.take_lines();
}
std::uint64_t ChildProcess::take_dropped_bytes() {
  return impl_->log.take_dropped_bytes();
}
std::vector<std::string> ChildProcess::last_lines() const {
  return impl_->log.last_lines();
}

base::Result<CommandOutput> run_command(Reactor& reactor, Containment& containment, SpawnSpec spec,
                                        base::Deadline deadline) {
  auto impl = std::make_shared<ChildProcess::Impl>(reactor, containment, std::move(spec));
  impl->log.capture(kCommandOutputBytesMax);
  ChildProcess child(impl);
  MIGSOAK_TRY(impl->start());
  MIGSOAK_ASSIGN(const ExitStatus status, child.wait_exit(deadline));
  return CommandOutput{status, impl->log.take_captured()};
}

}  // namespace migsoak::proc
