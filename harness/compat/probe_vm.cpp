// GCC 12 sees a null dereference in asio's inlined scheduler, a false positive.
#pragma GCC diagnostic ignored "-Wnull-dereference"

#include "compat/probe_vm.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>

#include "base/unique_fd.h"
#include "proc/child_process.h"

namespace migsoak::compat {
using base::ErrorKind;

namespace {

constexpr const char* kWireName = "wire";
constexpr std::size_t kWireReadBytes = 256u << 10;
// 16 MiB of zero pages are some 400 KB; video RAM of many cards comes on top.
constexpr std::size_t kStreamBytesMax = 256u << 20;

using WireSocket = boost::asio::local::stream_protocol::socket;

// Our end of a socket pair whose other end a QEMU has. Shared with the handlers in flight.
struct WireEnd : std::enable_shared_from_this<WireEnd> {
  explicit WireEnd(proc::Reactor& reactor) : socket(reactor.io()) {}

  void receive() {
    socket.async_read_some(boost::asio::buffer(buffer),
                           [self = shared_from_this()](const boost::system::error_code& ec, std::size_t count) {
                             self->bytes.append(self->buffer.data(), count);
                             if (ec || self->bytes.size() > kStreamBytesMax) return self->close();
                             self->receive();
                           });
  }
  void transmit(std::string stream) {
    bytes = std::move(stream);
    boost::asio::async_write(socket, boost::asio::buffer(bytes),
                             [self = shared_from_this()](const boost::system::error_code&, std::size_t) {
                               // A destination that refuses closes early: its answer tells, not the wire.
                               self->close();
                             });
  }
  void close() {
    done = true;
    boost::system::error_code ignored;
    socket.close(ignored);
  }

  WireSocket socket;
  std::vector<char> buffer = std::vector<char>(kWireReadBytes);
  std::string bytes;
  bool done = false;
};

}  // namespace

struct ProbeVm::Impl {
  Impl(CompatHost& lab_in, std::unique_ptr<hypervisor::Machine> machine_in)
      : lab(lab_in), machine(std::move(machine_in)) {}
  ~Impl() {
    if (wire) wire->close();
  }

  bool over() const { return !machine->alive() || !machine->qmp().end_reason().empty(); }
  void collect_lines() {
    for (std::string& line : machine->take_lines()) {
      // "hub 5 is not connected to host network", "Machine type ... is deprecated": said by any start of such a VM.
      if (line.find(": warning: ") == std::string::npos) said.push_back(std::move(line));
    }
  }
  std::string last_word();
  void await_end();
  tl::unexpected<base::Error> ended(const std::string& when);
  bool migration_is(const char* status) const { return machine->qmp().has_event("MIGRATION", "status", status); }
  base::Result<base::UniqueFd> open_wire(base::Deadline deadline);

  CompatHost& lab;
  std::unique_ptr<hypervisor::Machine> machine;
  std::unique_ptr<QtestPort> port;
  std::shared_ptr<WireEnd> wire;
  std::vector<std::string> said;
};

std::string ProbeVm::Impl::last_word() {
  collect_lines();
  if (!said.empty()) return said.back();
  const auto status = machine->exit_status();
  return status ? "it ended with " + proc::to_string(*status) : "it said nothing";
}

// QMP's end and the process's are learnt apart; the exit says more, so it gets a moment to arrive.
void ProbeVm::Impl::await_end() {
  lab.reactor.run_until([&] { return !machine->alive(); }, base::Deadline::in(std::chrono::seconds(2)));
}

tl::unexpected<base::Error> ProbeVm::Impl::ended(const std::string& when) {
  await_end();
  const auto status = machine->exit_status();
  return base::fail(ErrorKind::subject,
                    fmt::format("{} ({} {})", last_word(), status ? proc::to_string(*status) : "QMP ended", when));
}

ProbeVm::ProbeVm(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ProbeVm::~ProbeVm() = default;

base::Result<std::unique_ptr<ProbeVm>> ProbeVm::start(CompatHost& lab, const fleet::Build& build,
                                                      const std::string& machine, std::vector<std::string> hardware,
                                                      bool incoming) {
  hypervisor::MachineSpec spec;
  spec.side = build.name.empty() ? build.binary : build.name;
  spec.qemu = build.binary;
  spec.qemu_args = build.args;
  spec.env = build.env;
  spec.version = build.version;
  spec.machine = machine;
  spec.guestless = hypervisor::GuestlessSpec{std::move(hardware)};
  spec.incoming = incoming;
  spec.run_dir = lab.run_dir;
  spec.instance = lab.next_name();
  MIGSOAK_ASSIGN(auto started, lab.driver.start(std::move(spec)));
  return std::unique_ptr<ProbeVm>(new ProbeVm(std::make_unique<Impl>(lab, std::move(started))));
}

base::Result<void> ProbeVm::wait_ready(base::Deadline deadline) {
  Impl& own = *impl_;
  if (own.port) return {};
  if (auto ready = own.machine->wait_ready(deadline); !ready) {
    if (ready.error().kind == ErrorKind::timeout) return base::fail(ErrorKind::timeout, "QEMU did not come up in time");
    if (ready.error().kind == ErrorKind::subject && own.over()) return own.ended("at its start");
    return ready;
  }
  MIGSOAK_ASSIGN(own.port, QtestPort::connect(own.lab.reactor, own.machine->qtest_socket()));
  return {};
}

base::Result<base::UniqueFd> ProbeVm::Impl::open_wire(base::Deadline deadline) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return base::fail_errno("socketpair", errno);
  base::UniqueFd ours(ends[0]);
  base::UniqueFd theirs(ends[1]);
  auto reply = machine->qmp().execute("getfd", {{"fdname", kWireName}}, deadline, theirs.get());
  if (!reply) return tl::unexpected<base::Error>(std::move(reply.error()));
  wire = std::make_shared<WireEnd>(lab.reactor);
  boost::system::error_code ec;
  wire->socket.assign(boost::asio::local::stream_protocol(), ours.get(), ec);
  if (ec) return base::fail(ErrorKind::environment, "can't watch the migration stream: " + ec.message());
  ours.release();
  return theirs;
}

base::Result<std::string> ProbeVm::save(base::Deadline deadline) {
  Impl& own = *impl_;
  { MIGSOAK_ASSIGN(const base::UniqueFd theirs, own.open_wire(deadline)); }
  own.wire->receive();
  auto started = own.machine->qmp().execute("migrate", {{"uri", std::string("fd:") + kWireName}}, deadline);
  if (!started) {
    if (own.over()) return own.ended("when asked to migrate");
    return tl::unexpected<base::Error>(std::move(started.error()));
  }
  const auto waited = own.lab.reactor.run_until(
      [&] { return (own.wire->done && own.migration_is("completed")) || own.migration_is("failed") || own.over(); },
      deadline);
  if (waited == proc::Wait::interrupted) return base::fail(ErrorKind::interrupted, "interrupted");
  if (waited == proc::Wait::timeout) return base::fail(ErrorKind::timeout, "the source did not finish migrating");
  if (own.over()) return own.ended("while it migrated");
  if (own.migration_is("failed")) {
    const auto status = own.machine->qmp().execute("query-migrate", base::Json::object(), deadline);
    const std::string why = status ? base::json_get<std::string>(*status, "error-desc", "") : "";
    return base::fail(ErrorKind::subject, "the source failed to migrate: " + (why.empty() ? own.last_word() : why));
  }
  return std::move(own.wire->bytes);
}

base::Result<void> ProbeVm::begin_load(std::string stream, base::Deadline deadline) {
  Impl& own = *impl_;
  { MIGSOAK_ASSIGN(const base::UniqueFd theirs, own.open_wire(deadline)); }
  auto reply = own.machine->qmp().execute("migrate-incoming", {{"uri", std::string("fd:") + kWireName}}, deadline);
  if (!reply) return tl::unexpected<base::Error>(std::move(reply.error()));
  own.wire->transmit(std::move(stream));
  return {};
}

base::Result<ProbeVm::Loaded> ProbeVm::wait_loaded(base::Deadline deadline) {
  Impl& own = *impl_;
  const auto waited = own.lab.reactor.run_until(
      [&] { return own.migration_is("completed") || own.migration_is("failed") || own.over(); }, deadline);
  if (waited == proc::Wait::interrupted) return base::fail(ErrorKind::interrupted, "interrupted");
  if (waited == proc::Wait::timeout) return base::fail(ErrorKind::timeout, "the destination did not finish loading");
  Loaded loaded;
  loaded.good = own.migration_is("completed") && !own.over();
  if (loaded.good) return loaded;
  // It exits by itself, and what it has to say comes before.
  own.await_end();
  own.collect_lines();
  loaded.lines = own.said;
  const auto status = own.machine->exit_status();
  loaded.status = status ? proc::to_string(*status) : "it is still there";
  return loaded;
}

qmp::Monitor& ProbeVm::qmp() {
  return impl_->machine->qmp();
}
base::Result<QtestAnswers> ProbeVm::run(const QtestScript& script, base::Deadline deadline) {
  return impl_->port->run(script, deadline);
}
std::vector<std::string> ProbeVm::lines() const {
  impl_->collect_lines();
  return impl_->said;
}

}  // namespace migsoak::compat
