#include "hypervisor/machine.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cassert>
#include <csignal>

#include "base/text.h"
#include "hypervisor/executable.h"
#include "hypervisor/sockets.h"
#include "proc/proc_fs.h"
#include "proc/program.h"

namespace migsoak::hypervisor {
using base::ErrorKind;

namespace {

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

}  // namespace

struct Machine::Impl {
  Impl(proc::Reactor& reactor_in, MachineSpec spec_in)
      : reactor(reactor_in), spec(std::move(spec_in)), client(reactor_in) {}

  proc::Reactor& reactor;
  MachineSpec spec;
  std::string resolved_qemu;
  std::unique_ptr<proc::ChildProcess> child;
  qmp::Client client;
  std::vector<std::uint64_t> setup_ids;
  bool set_up = false;
  bool quit_sent = false;
  mutable pid_t found_pid = 0;

  bool setup_answered() const {
    for (const auto id : setup_ids) {
      if (!client.replied(id)) return false;
    }
    return true;
  }
  void begin_setup();
  base::Result<void> finish_setup(base::Deadline deadline);
  tl::unexpected<base::Error> exited_error(const char* when) const;
  void remove_sockets() const {
    for (const auto& path : {qmp_socket_path(spec), agent_socket_path(spec), console_socket_path(spec)}) {
      ::unlink(path.c_str());
    }
  }
};

// Everything that waits for QEMU to come up is queued now, so that it proceeds while the lane does other things.
void Machine::Impl::begin_setup() {
  client.begin_connect(qmp_socket_path(spec));
  const base::Json events{{"capability", "events"}, {"state", true}};
  setup_ids.push_back(client.send("migrate-set-capabilities", {{"capabilities", base::Json::array({events})}}));
  setup_ids.push_back(client.send("migrate-set-parameters",
                                  {{"max-bandwidth", kBandwidthBytesPerS},
                                   {"downtime-limit", spec.accel == "tcg" ? kDowntimeLimitMsTcg : kDowntimeLimitMs}}));
}

tl::unexpected<base::Error> Machine::Impl::exited_error(const char* when) const {
  const auto status = child->exit_status();
  return base::fail(
      ErrorKind::subject,
      base::printable(fmt::format("qemu:{} ended {} ({}): {}", spec.side, when,
                                  status ? proc::to_string(*status) : "status unknown", last_lines_of(*child)),
                      2000));
}

base::Result<void> Machine::Impl::finish_setup(base::Deadline deadline) {
  for (const auto id : setup_ids) {
    auto reply = client.take_reply(id, deadline);
    if (!reply) return tl::unexpected<base::Error>(std::move(reply.error()).with_context("set up QEMU for migration"));
  }
  setup_ids.clear();
  set_up = true;
  return {};
}

Machine::Machine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Machine::~Machine() {
  if (impl_->child != nullptr) {
    kill();
  } else {
    impl_->remove_sockets();  // the image that was replaced left them
  }
}

base::Result<std::unique_ptr<Machine>> Machine::spawn(proc::Reactor& reactor, proc::Containment& containment,
                                                      MachineSpec spec) {
  MIGSOAK_ASSIGN(auto argv, command_line(spec));
  auto impl = std::make_unique<Impl>(reactor, std::move(spec));
  const MachineSpec& own = impl->spec;
  impl->resolved_qemu = proc::without_links(proc::find_program(own.qemu).value_or(own.qemu));
  proc::SpawnSpec spawn_spec;
  spawn_spec.name = "qemu:" + own.side;
  spawn_spec.argv = std::move(argv);
  spawn_spec.env = own.env;
  spawn_spec.log_file = own.log_file;
  impl->remove_sockets();  // of a namesake that was killed: QEMU must not find them, we must not connect to them
  MIGSOAK_ASSIGN(impl->child, proc::ChildProcess::spawn(reactor, containment, std::move(spawn_spec)),
                 "spawn qemu:" + own.side);
  impl->begin_setup();
  return std::unique_ptr<Machine>(new Machine(std::move(impl)));
}

base::Result<std::unique_ptr<Machine>> Machine::take_over(proc::Reactor& reactor, Machine& old, MachineSpec next) {
  assert(old.impl_->child != nullptr);
  // The old image still accepts connections a moment before the exec cuts them off: on a socket of its own, the new one
  // can't be mistaken for it.
  assert(qmp_socket_path(old.spec()) != qmp_socket_path(next));
  auto impl = std::make_unique<Impl>(reactor, std::move(next));
  impl->resolved_qemu = proc::without_links(proc::find_program(impl->spec.qemu).value_or(impl->spec.qemu));
  if (old.impl_->child->exited()) return old.impl_->exited_error("before it could exec");
  impl->child = std::move(old.impl_->child);
  impl->begin_setup();
  return std::unique_ptr<Machine>(new Machine(std::move(impl)));
}

base::Result<void> Machine::wait_ready(base::Deadline deadline) {
  Impl& own = *impl_;
  if (own.set_up) return {};
  const auto over = [&] { return own.child->exited() || !own.client.end_reason().empty(); };
  const auto waited = own.reactor.run_until([&] { return own.setup_answered() || over(); }, deadline);
  if (own.setup_answered() && own.client.connected()) return own.finish_setup(deadline);
  if (waited == proc::Wait::interrupted) return base::fail(ErrorKind::interrupted, "interrupted while QEMU starts");
  if (waited == proc::Wait::timeout) {
    const char* what = own.client.connected() ? "did not finish its set-up over QMP" : "never answered on QMP";
    return base::fail(ErrorKind::timeout, fmt::format("qemu:{} {}", own.spec.side, what));
  }
  // QMP's end and the process's are learnt apart; the exit says more, so it gets a moment to arrive.
  if (!own.child->exited()) {
    own.reactor.run_until([&] { return own.child->exited(); },
                          base::Deadline::in(std::chrono::seconds(1)).sooner(deadline));
  }
  if (own.child->exited()) return own.exited_error("before QMP answered");
  return base::fail(ErrorKind::subject, fmt::format("qemu:{}: QMP: {}", own.spec.side, own.client.end_reason()));
}

bool Machine::ready() const {
  return impl_->set_up || (impl_->client.connected() && impl_->setup_answered());
}

const MachineSpec& Machine::spec() const {
  return impl_->spec;
}
proc::ChildProcess& Machine::child() {
  assert(impl_->child != nullptr);
  return *impl_->child;
}
const proc::ChildProcess& Machine::child() const {
  assert(impl_->child != nullptr);
  return *impl_->child;
}
qmp::Client& Machine::qmp() {
  return impl_->client;
}
std::string Machine::agent_socket() const {
  return agent_socket_path(impl_->spec);
}
std::string Machine::console_socket() const {
  return console_socket_path(impl_->spec);
}
bool Machine::alive() const {
  return impl_->child != nullptr && !impl_->child->exited();
}

pid_t Machine::qemu_pid() const {
  const pid_t child = impl_->child->pid();
  if (impl_->spec.wrapper.empty()) return child;
  if (impl_->found_pid == 0) impl_->found_pid = find_descendant(child, impl_->resolved_qemu, 0);
  return impl_->found_pid != 0 ? impl_->found_pid : child;
}

void Machine::begin_quit() {
  if (impl_->quit_sent || !alive() || !impl_->client.connected()) return;
  impl_->client.send("quit");
  impl_->quit_sent = true;
}

base::Result<proc::ExitStatus> Machine::quit(base::Deadline deadline) {
  proc::ChildProcess& child = *impl_->child;
  begin_quit();
  auto status = child.wait_exit(deadline);
  if (!status) {
    kill();
    return tl::unexpected<base::Error>(
        std::move(status.error()).with_context(fmt::format("qemu:{} did not quit", impl_->spec.side)));
  }
  impl_->remove_sockets();
  return status;
}

void Machine::kill() {
  if (!impl_->child->exited()) {
    // Behind a wrapper that forks, the wrapper's death alone would leave QEMU running.
    if (!impl_->spec.wrapper.empty()) {
      const pid_t qemu = find_descendant(impl_->child->pid(), impl_->resolved_qemu, 0);
      if (qemu > 0 && qemu != impl_->child->pid()) ::kill(qemu, SIGKILL);
    }
    impl_->child->stop(std::chrono::milliseconds(0));
  }
  impl_->remove_sockets();
}

}  // namespace migsoak::hypervisor
