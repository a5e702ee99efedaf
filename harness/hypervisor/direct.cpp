// The driver "direct": QEMU is started by the harness itself, as its child, and spoken to over its own sockets.
#include "hypervisor/direct.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <csignal>
#include <string_view>

#include "base/text.h"
#include "hypervisor/qmp_device_control.h"
#include "hypervisor/sockets.h"
#include "proc/child_process.h"
#include "proc/proc_fs.h"
#include "proc/program.h"
#include "qmp/client.h"

namespace migsoak::hypervisor {
using base::ErrorKind;

namespace {

std::string_view executable_basename(std::string_view path) {
  // The kernel appends this to /proc/PID/exe when the file was replaced under a running process (proc(5)).
  constexpr std::string_view kDeleted = " (deleted)";
  if (path.size() > kDeleted.size() && path.substr(path.size() - kDeleted.size()) == kDeleted) {
    path.remove_suffix(kDeleted.size());
  }
  const auto slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

// 7.2's default of 128 MiB/s would make the wire the bottleneck; 1 TiB/s is "no limit" on every version.
constexpr std::int64_t kBandwidthBytesPerS = 1LL << 40;
constexpr int kDowntimeLimitMs = 300;
// Under TCG before QEMU 9.0 a write of the guest can be missed while the dirty bitmap is being read (fixed by commit
// 03bfc2188f, "physmem: Fix migration dirty bitmap coherency with TCG memory access"): each further round of copying
// beside the running guest is a chance to corrupt it. A host that is short of CPU asks for such rounds; with this limit
// the switch-over comes after the first. What the guest's clients see is measured all the same.
constexpr int kDowntimeLimitMsTcg = 1500;
// A wrapper's tree is searched no deeper than this.
constexpr int kDescentMax = 8;

std::string last_lines_of(const proc::ChildProcess& child) {
  const auto lines = child.last_lines();
  const std::size_t first = lines.size() > 5 ? lines.size() - 5 : 0;
  std::string text;
  for (std::size_t i = first; i < lines.size(); ++i) text += (text.empty() ? "" : " | ") + lines[i];
  return text.empty() ? "it said nothing" : text;
}

bool runs_executable(pid_t pid, const std::string& executable) {
  char target[4096];
  const auto count = ::readlink(fmt::format("/proc/{}/exe", pid).c_str(), target, sizeof(target));
  if (count <= 0) return false;
  return executable_basename(std::string(target, static_cast<std::size_t>(count))) == executable_basename(executable);
}

// Breadth is 1 in practice: a wrapper starts one QEMU. 0 when it is not (yet) there.
pid_t find_descendant(pid_t pid, const std::string& executable, int depth) {
  if (runs_executable(pid, executable)) return pid;
  if (depth >= kDescentMax) return 0;
  for (const pid_t child : proc::children_of(pid)) {
    if (const pid_t found = find_descendant(child, executable, depth + 1); found != 0) return found;
  }
  return 0;
}

class DirectMachine : public Machine {
 public:
  DirectMachine(proc::Reactor& reactor, MachineSpec spec)
      : reactor_(reactor), spec_(std::move(spec)), client_(reactor) {
    resolved_qemu_ = proc::without_links(proc::find_program(spec_.qemu).value_or(spec_.qemu));
  }
  ~DirectMachine() override;

  base::Result<void> spawn(proc::Containment& containment);
  base::Result<void> take_over(DirectMachine& old);

  const MachineSpec& spec() const override { return spec_; }
  base::Result<void> wait_ready(base::Deadline deadline) override;
  bool ready() const override { return set_up_ || (client_.connected() && setup_answered()); }
  ProcessIdentity process() const override { return {child().pid(), child().start_ticks()}; }
  pid_t qemu_pid() const override;
  qmp::Monitor& qmp() override { return client_; }
  DeviceControl& devices() override { return devices_; }
  std::string agent_socket() const override { return agent_socket_path(spec_); }
  std::string console_socket() const override { return console_socket_path(spec_); }
  std::string qtest_socket() const override { return spec_.guestless ? qtest_socket_path(spec_) : ""; }
  std::vector<std::string> take_lines() override { return child_->take_lines(); }
  std::uint64_t take_dropped_bytes() override { return child_->take_dropped_bytes(); }
  std::vector<std::string> last_lines() const override { return child().last_lines(); }
  bool alive() const override { return child_ != nullptr && !child_->exited(); }
  std::optional<proc::ExitStatus> exit_status() const override { return child().exit_status(); }
  base::Result<void> set_exec(const MachineSpec& next) override;
  std::optional<std::uint64_t> send_exec() override;
  void begin_quit() override;
  base::Result<void> quit(base::Deadline deadline) override;
  void kill() override;

 private:
  const proc::ChildProcess& child() const {
    assert(child_ != nullptr);
    return *child_;
  }
  bool setup_answered() const {
    return std::all_of(setup_ids_.begin(), setup_ids_.end(), [this](auto id) { return client_.replied(id); });
  }
  void begin_setup();
  base::Result<void> finish_setup(base::Deadline deadline);
  tl::unexpected<base::Error> exited_error(const char* when) const;
  void remove_sockets() const {
    for (const auto& path : socket_paths(spec_)) ::unlink(path.c_str());
  }

  proc::Reactor& reactor_;
  MachineSpec spec_;
  std::string resolved_qemu_;
  std::unique_ptr<proc::ChildProcess> child_;
  qmp::Client client_;
  QmpDeviceControl devices_{client_};
  std::vector<std::uint64_t> setup_ids_;
  std::vector<std::string> exec_command_;
  bool set_up_ = false;
  bool quit_sent_ = false;
  mutable pid_t found_pid_ = 0;
};

// Everything that waits for QEMU to come up is queued now, so that it proceeds while the lane does other things.
void DirectMachine::begin_setup() {
  client_.begin_connect(qmp_socket_path(spec_));
  const base::Json events{{"capability", "events"}, {"state", true}};
  setup_ids_.push_back(client_.send("migrate-set-capabilities", {{"capabilities", base::Json::array({events})}}));
  setup_ids_.push_back(client_.send(
      "migrate-set-parameters", {{"max-bandwidth", kBandwidthBytesPerS},
                                 {"downtime-limit", spec_.accel == "tcg" ? kDowntimeLimitMsTcg : kDowntimeLimitMs}}));
}

tl::unexpected<base::Error> DirectMachine::exited_error(const char* when) const {
  const auto status = child().exit_status();
  return base::fail(
      ErrorKind::subject,
      base::printable(fmt::format("qemu:{} ended {} ({}): {}", spec_.side, when,
                                  status ? proc::to_string(*status) : "status unknown", last_lines_of(child())),
                      2000));
}

base::Result<void> DirectMachine::finish_setup(base::Deadline deadline) {
  for (const auto id : setup_ids_) {
    auto reply = client_.take_reply(id, deadline);
    if (!reply) return tl::unexpected<base::Error>(std::move(reply.error()).with_context("set up QEMU for migration"));
  }
  setup_ids_.clear();
  set_up_ = true;
  return {};
}

DirectMachine::~DirectMachine() {
  if (child_ != nullptr) {
    DirectMachine::kill();
  } else {
    remove_sockets();  // the image that was replaced left them
  }
}

base::Result<void> DirectMachine::spawn(proc::Containment& containment) {
  proc::SpawnSpec spawn_spec;
  MIGSOAK_ASSIGN(spawn_spec.argv, command_line(spec_));
  spawn_spec.name = "qemu:" + spec_.side;
  spawn_spec.env = spec_.env;
  spawn_spec.log_file = spec_.log_file;
  remove_sockets();  // of a namesake that was killed: QEMU must not find them, we must not connect to them
  MIGSOAK_ASSIGN(child_, proc::ChildProcess::spawn(reactor_, containment, std::move(spawn_spec)),
                 "spawn qemu:" + spec_.side);
  begin_setup();
  return {};
}

base::Result<void> DirectMachine::take_over(DirectMachine& old) {
  assert(old.child_ != nullptr);
  // The old image still accepts connections a moment before the exec cuts them off: on a socket of its own, the new one
  // can't be mistaken for it.
  assert(qmp_socket_path(old.spec_) != qmp_socket_path(spec_));
  if (old.child_->exited()) return old.exited_error("before it could exec");
  child_ = std::move(old.child_);
  begin_setup();
  return {};
}

base::Result<void> DirectMachine::wait_ready(base::Deadline deadline) {
  if (set_up_) return {};
  const auto over = [&] { return child_->exited() || !client_.end_reason().empty(); };
  const auto waited = reactor_.run_until([&] { return setup_answered() || over(); }, deadline);
  if (setup_answered() && client_.connected()) return finish_setup(deadline);
  if (waited == proc::Wait::interrupted) return base::fail(ErrorKind::interrupted, "interrupted while QEMU starts");
  if (waited == proc::Wait::timeout) {
    const char* what = client_.connected() ? "did not finish its set-up over QMP" : "never answered on QMP";
    return base::fail(ErrorKind::timeout, fmt::format("qemu:{} {}", spec_.side, what));
  }
  // QMP's end and the process's are learnt apart; the exit says more, so it gets a moment to arrive.
  if (!child_->exited()) {
    reactor_.run_until([&] { return child_->exited(); }, base::Deadline::in(std::chrono::seconds(1)).sooner(deadline));
  }
  if (child_->exited()) return exited_error("before QMP answered");
  return base::fail(ErrorKind::subject, fmt::format("qemu:{}: QMP: {}", spec_.side, client_.end_reason()));
}

// With a wrapper that forks, QEMU is the descendant whose executable is spec().qemu.
pid_t DirectMachine::qemu_pid() const {
  const pid_t outermost = child().pid();
  if (spec_.wrapper.empty()) return outermost;
  if (found_pid_ == 0) found_pid_ = find_descendant(outermost, resolved_qemu_, 0);
  return found_pid_ != 0 ? found_pid_ : outermost;
}

base::Result<void> DirectMachine::set_exec(const MachineSpec& next) {
  MIGSOAK_ASSIGN(std::vector<std::string> argv, command_line(next));
  exec_command_.clear();
  if (spec_.env != next.env) {
    // The image that execs passes its own environment on; env(1) changes it and execs in its turn, all in one pid.
    exec_command_ = {"env"};
    for (const auto& [name, value] : spec_.env) {
      if (!next.env.contains(name)) exec_command_.insert(exec_command_.end(), {"-u", name});
    }
    for (const auto& [name, value] : next.env) exec_command_.push_back(name + "=" + value);
  }
  exec_command_.insert(exec_command_.end(), argv.begin(), argv.end());
  return {};
}

std::optional<std::uint64_t> DirectMachine::send_exec() {
  if (exec_command_.empty()) return std::nullopt;
  return client_.send("migrate-set-parameters", {{"cpr-exec-command", exec_command_}});
}

void DirectMachine::begin_quit() {
  if (quit_sent_ || !alive() || !client_.connected()) return;
  client_.send("quit");
  quit_sent_ = true;
}

base::Result<void> DirectMachine::quit(base::Deadline deadline) {
  begin_quit();
  auto status = child_->wait_exit(deadline);
  if (!status) {
    kill();
    return tl::unexpected<base::Error>(
        std::move(status.error()).with_context(fmt::format("qemu:{} did not quit", spec_.side)));
  }
  remove_sockets();
  return {};
}

void DirectMachine::kill() {
  if (!child_->exited()) {
    // Behind a wrapper that forks, the wrapper's death alone would leave QEMU running.
    if (!spec_.wrapper.empty()) {
      const pid_t qemu = find_descendant(child_->pid(), resolved_qemu_, 0);
      if (qemu > 0 && qemu != child_->pid()) ::kill(qemu, SIGKILL);
    }
    child_->stop(std::chrono::milliseconds(0));
  }
  remove_sockets();
}

class DirectDriver : public Driver {
 public:
  DirectDriver(proc::Reactor& reactor, proc::Containment& containment) : reactor_(reactor), containment_(containment) {}

  base::Result<std::unique_ptr<Machine>> start(MachineSpec spec) override {
    auto machine = std::make_unique<DirectMachine>(reactor_, std::move(spec));
    MIGSOAK_TRY(machine->spawn(containment_));
    return machine;
  }
  base::Result<std::unique_ptr<Machine>> take_over(Machine& old, MachineSpec next) override {
    auto machine = std::make_unique<DirectMachine>(reactor_, std::move(next));
    MIGSOAK_TRY(machine->take_over(dynamic_cast<DirectMachine&>(old)));
    return machine;
  }

 private:
  proc::Reactor& reactor_;
  proc::Containment& containment_;
};

}  // namespace

std::unique_ptr<Driver> make_direct_driver(proc::Reactor& reactor, proc::Containment& containment) {
  return std::make_unique<DirectDriver>(reactor, containment);
}

DriverKind driver_kind_direct() {
  DriverKind kind;
  kind.name = "direct";
  kind.summary = "QEMU as a child of the harness, on a command line of its own making";
  kind.make = make_direct_driver;
  kind.check = [](const MachineSpec& spec) -> base::Result<void> {
    MIGSOAK_TRY(command_line(spec));
    return {};
  };
  return kind;
}

}  // namespace migsoak::hypervisor
