// The driver "libvirt": each side has a private libvirtd (libvirt_daemon.h), which starts the QEMUs and moves the guest
// by its own migration protocol. A guest is one transient domain, of one name and UUID on all sides.
#include <fcntl.h>
#include <fmt/format.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/libvirt.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <utility>

#include "base/text.h"
#include "base/unique_fd.h"
#include "hypervisor/driver.h"
#include "hypervisor/libvirt_call.h"
#include "hypervisor/libvirt_daemon.h"
#include "hypervisor/libvirt_domains.h"
#include "hypervisor/libvirt_log.h"
#include "hypervisor/libvirt_migration.h"
#include "hypervisor/libvirt_monitor.h"
#include "hypervisor/libvirt_xml.h"
#include "hypervisor/sockets.h"
#include "hypervisor/stray_reaper.h"
#include "proc/proc_fs.h"
#include "proc/process_tree.h"
#include "proc/run_dir.h"

namespace migsoak::hypervisor {
using base::ErrorKind;

namespace {

constexpr const char* kDomainName = "guest";
// Of a domain among the few of one private daemon.
constexpr const char* kDomainUuid = "6d696773-6f61-4b00-8000-000000000001";
constexpr unsigned kTcgDowntimeLimitMs = 1500;  // see direct.cpp
constexpr std::chrono::milliseconds kSocketRecheck{10};
// The first start has libvirtd ask QEMU what it can do, by starting it several times.
constexpr std::chrono::seconds kStartMax{60};
constexpr std::chrono::seconds kDestroyMax{10};
constexpr std::chrono::seconds kDaemonEndMax{5};
constexpr std::chrono::seconds kKilledMax{10};
constexpr std::chrono::seconds kSignOfLifeMax{5};
constexpr std::chrono::seconds kEndSeenMax{1};

// What a daemon has told of its one domain. Touched on the lane's thread only.
struct DomainFacts {
  std::int64_t starts = 0;                     // told by the daemon
  std::int64_t claimed = 0;                    // of them, those for which there is a Machine
  std::vector<qmp::Event> unclaimed;           // QEMU's events since the last start
  std::weak_ptr<LibvirtMonitorState> monitor;  // of the machine that claimed it
  std::set<std::string> removed;               // aliases of devices that it has no more

  void began() {
    ++starts;
    removed.clear();
    unclaimed.clear();
    monitor.reset();
  }
  void add(qmp::Event event) {
    if (const auto state = monitor.lock()) return state->add_event(std::move(event));
    unclaimed.push_back(std::move(event));
  }
};

// What a callback gets; libvirt frees it.
struct CallbackContext {
  std::shared_ptr<LaneInbox> inbox;
  std::weak_ptr<DomainFacts> facts;
};
void free_context(void* opaque) {
  delete static_cast<CallbackContext*>(opaque);
}

// Whoever else gives its daemon a domain, even of that name.
bool is_guest(virDomainPtr domain) {
  return uuid_of(domain) == kDomainUuid;
}

int on_lifecycle(virConnectPtr, virDomainPtr domain, int event, int, void* opaque) {
  const auto& context = *static_cast<CallbackContext*>(opaque);
  if (event != VIR_DOMAIN_EVENT_STARTED || !is_guest(domain)) return 0;
  context.inbox->post([weak = context.facts] {
    if (const auto facts = weak.lock()) facts->began();
  });
  return 0;
}

void on_device_removed(virConnectPtr, virDomainPtr domain, const char* alias, void* opaque) {
  if (!is_guest(domain)) return;
  const auto& context = *static_cast<CallbackContext*>(opaque);
  context.inbox->post([weak = context.facts, alias = std::string(alias != nullptr ? alias : "")] {
    if (const auto facts = weak.lock()) facts->removed.insert(alias);
  });
}

void on_monitor_event(virConnectPtr, virDomainPtr domain, const char* name, long long, unsigned int,
                      const char* details, void* opaque) {
  if (!is_guest(domain)) return;
  const auto& context = *static_cast<CallbackContext*>(opaque);
  qmp::Event event{name != nullptr ? name : "", base::Json::object(), base::Clock::now()};
  if (auto data = base::parse_json(details != nullptr ? details : "")) event.data = std::move(*data);
  context.inbox->post([weak = context.facts, event = std::move(event)]() mutable {
    if (const auto facts = weak.lock()) facts->add(std::move(event));
  });
}

class LibvirtMachine;

// A side of one guest.
struct LibvirtSide {
  std::unique_ptr<LibvirtDaemon> daemon;
  LibvirtConnection connection;
  std::shared_ptr<DomainFacts> facts = std::make_shared<DomainFacts>();
  LibvirtMachine* machine = nullptr;  // the last that its daemon started, while there is one
  CallThread calls;
  bool defines = false;  // it keeps a definition of the guest (persist-dest), here or not
};

// Shared by a driver and its machines; goes with the driver's guest.
struct LibvirtGuest {
  LibvirtGuest(proc::Reactor& reactor_in, proc::Containment& containment_in)
      : reactor(reactor_in),
        containment(containment_in),
        inbox(std::make_shared<LaneInbox>(reactor_in)),
        reaper(reactor_in, containment_in) {}
  ~LibvirtGuest() { inbox->close(); }
  LibvirtGuest(const LibvirtGuest&) = delete;
  LibvirtGuest& operator=(const LibvirtGuest&) = delete;

  LibvirtSide& side(const std::string& name) { return *sides.at(name); }
  base::Result<std::string> xml_of(const MachineSpec& spec) const {
    MIGSOAK_ASSIGN(std::string xml,
                   domain_xml(spec, {kDomainName, kDomainUuid, {{proc::kRunMarker, containment.run_id()}}}));
    return running_xml.empty() ? xml : with_machine_of(running_xml, xml);
  }

  proc::Reactor& reactor;
  proc::Containment& containment;
  std::shared_ptr<LaneInbox> inbox;
  StrayReaper reaper;
  // Of the domain, from a daemon that was started again. Of a domain that it has found running such a one knows QEMU's
  // capabilities by their flags alone: it can't tell that "q35" is the "pc-q35-7.2" that it has, nor which CPU is the
  // default, and sends it nowhere by an XML that leaves that to it. Empty: there was none.
  std::string running_xml;
  std::map<std::string, std::unique_ptr<LibvirtSide>> sides;
};

// The host's pid of the QEMU whose pid, as its daemon knows it, is in `pid_file`; 0: not there.
pid_t qemu_in(const std::string& pid_file, const proc::Containment& containment) {
  pid_t inner = 0;
  std::ifstream file(pid_file);
  if (!(file >> inner) || inner <= 0) return 0;
  for (const pid_t pid : containment.processes()) {
    if (proc::innermost_pid(pid) == inner) return pid;
  }
  return 0;
}

std::vector<std::string> ids_of(const DeviceSet& devices) {
  std::vector<std::string> ids;
  for (const DeviceSpec& device : devices) ids.push_back(device.id);
  return ids;
}

// Attaches to and detaches from the live domain; backends are libvirt's own affair.
class LibvirtDevices : public DeviceControl {
 public:
  LibvirtDevices(LibvirtGuest& guest, const MachineSpec& spec, const LibvirtDomain& domain, LibvirtMonitor& monitor)
      : guest_(guest), spec_(spec), domain_(domain), monitor_(monitor) {}

  base::Result<void> plug(const DeviceSpec& device, base::Deadline deadline) override {
    MIGSOAK_ASSIGN(std::string xml, device_xml(spec_, device));
    monitor_.add_id(device.id);
    side().facts->removed.erase(libvirt_device_id(device.id));
    return call(deadline, "attach of " + device.id, [domain = domain_, xml = std::move(xml)] {
      return virDomainAttachDeviceFlags(domain.get(), xml.c_str(), VIR_DOMAIN_AFFECT_LIVE);
    });
  }
  base::Result<void> request_unplug(const std::string& id, base::Deadline deadline) override {
    return call(deadline, "detach of " + id, [domain = domain_, alias = libvirt_device_id(id)] {
      return virDomainDetachDeviceAlias(domain.get(), alias.c_str(), VIR_DOMAIN_AFFECT_LIVE);
    });
  }
  bool unplugged(const std::string& id) const override {
    return side().facts->removed.count(libvirt_device_id(id)) > 0;
  }
  // As the domain's XML has it: QEMU may be without it a moment before libvirtd takes note, which would refuse the next
  // migration.
  base::Result<bool> has_device(const std::string& id, base::Deadline deadline) override {
    MIGSOAK_ASSIGN(const base::Json names,
                   call_libvirt<base::Json>(guest_.reactor, guest_.inbox, side().calls, deadline, "XML of the domain",
                                            [domain = domain_]() -> base::Result<base::Json> {
                                              MIGSOAK_ASSIGN(const std::string xml, xml_of(domain.get()));
                                              return device_names_in(xml);
                                            }));
    return std::find(names.begin(), names.end(), id) != names.end();
  }
  base::Result<void> drop_backends(const DeviceSpec&, base::Deadline) override { return {}; }

 private:
  LibvirtSide& side() const { return guest_.side(spec_.side); }
  base::Result<void> call(base::Deadline deadline, const std::string& what, std::function<int()> work) {
    return call_libvirt<void>(guest_.reactor, guest_.inbox, side().calls, deadline, what,
                              [what, work = std::move(work)]() -> base::Result<void> {
                                if (work() == 0) return {};
                                return libvirt_error(what);
                              });
  }

  LibvirtGuest& guest_;  // these four: the machine's
  const MachineSpec& spec_;
  const LibvirtDomain& domain_;
  LibvirtMonitor& monitor_;
};

class LibvirtMachine : public Machine {
 public:
  LibvirtMachine(std::shared_ptr<LibvirtGuest> guest, MachineSpec spec, LibvirtDomain domain, pid_t pid)
      : guest_(std::move(guest)),
        spec_(std::move(spec)),
        domain_(std::move(domain)),
        pid_(pid),
        pidfd_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))),
        monitor_(guest_->reactor, guest_->inbox, domain_, ids_of(spec_.devices)),
        devices_(*guest_, spec_, domain_, monitor_),
        log_(side().daemon->log_file(kDomainName)) {
    if (const auto stat = proc::read_stat(pid)) start_ticks_ = stat->start_ticks;
    side().machine = this;
    claim();
  }
  ~LibvirtMachine() override {
    LibvirtMachine::kill();
    if (side().machine == this) side().machine = nullptr;
  }

  // Its daemon has been started again and knows it as `domain`.
  void rejoin(LibvirtDomain domain) {
    domain_ = std::move(domain);
    monitor_.rejoin(domain_);
    claim();
  }

  const MachineSpec& spec() const override { return spec_; }
  base::Result<void> wait_ready(base::Deadline) override {
    if (alive()) return {};
    const auto lines = log_.last_lines();
    return base::fail(ErrorKind::subject, fmt::format("qemu:{} ended before it was ready: {}", spec_.side,
                                                      lines.empty() ? "it said nothing" : base::join(lines, " | ")));
  }
  // libvirtd does not have it started before it has its QMP.
  bool ready() const override { return alive(); }
  ProcessIdentity process() const override { return {pid_, start_ticks_}; }
  pid_t qemu_pid() const override { return pid_; }
  qmp::Monitor& qmp() override {
    (void)alive();
    return monitor_;
  }
  DeviceControl& devices() override { return devices_; }
  std::string agent_socket() const override { return agent_socket_path(spec_); }
  std::string console_socket() const override { return console_socket_path(spec_); }
  std::vector<std::string> take_lines() override { return log_.take_lines(); }
  std::uint64_t take_dropped_bytes() override { return log_.take_dropped_bytes(); }
  std::vector<std::string> last_lines() const override { return log_.last_lines(); }
  bool alive() const override;
  // It is libvirtd's child no more than ours: nobody is told.
  std::optional<proc::ExitStatus> exit_status() const override { return std::nullopt; }
  base::Result<void> set_exec(const MachineSpec&) override {
    return base::fail(ErrorKind::bad_input, "libvirt has no migration in place");
  }
  std::optional<std::uint64_t> send_exec() override { return std::nullopt; }
  base::Result<std::unique_ptr<DrivenMigration>> begin_migration(const MachineSpec& next, const std::string& transport,
                                                                 const record::LibvirtWay& way) override;
  void begin_quit() override { destroy(VIR_DOMAIN_DESTROY_GRACEFUL); }
  base::Result<void> quit(base::Deadline deadline) override;
  void kill() override;

 private:
  LibvirtSide& side() const { return guest_->side(spec_.side); }
  void claim();
  void destroy(unsigned flags);
  bool wait_end(base::Deadline deadline) const;
  void remove_sockets() const {
    for (const auto& path : {agent_socket_path(spec_), console_socket_path(spec_)}) ::unlink(path.c_str());
  }

  std::shared_ptr<LibvirtGuest> guest_;
  MachineSpec spec_;
  LibvirtDomain domain_;
  pid_t pid_;
  std::int64_t start_ticks_ = 0;
  base::UniqueFd pidfd_;
  LibvirtMonitor monitor_;
  LibvirtDevices devices_;
  mutable LibvirtLog log_;
  mutable bool ended_ = false;
  bool destroyed_ = false;
};

void LibvirtMachine::claim() {
  DomainFacts& facts = *side().facts;
  facts.claimed = facts.starts;
  facts.monitor = monitor_.state();
  for (qmp::Event& event : std::exchange(facts.unclaimed, {})) monitor_.state()->add_event(std::move(event));
}

bool LibvirtMachine::alive() const {
  if (ended_) return false;
  pollfd watched{pidfd_.get(), POLLIN, 0};
  ended_ = !pidfd_.valid() || ::poll(&watched, 1, 0) > 0;
  if (ended_) monitor_.state()->end_reason = "its QEMU ended";
  if (!ended_ && side().daemon->child().exited()) monitor_.state()->end_reason = "its libvirtd ended";
  return !ended_;
}

base::Result<std::unique_ptr<DrivenMigration>> LibvirtMachine::begin_migration(const MachineSpec& next,
                                                                               const std::string& transport,
                                                                               const record::LibvirtWay& way) {
  LibvirtJob job{
      transport, way, {}, next.run_dir + "/" + next.instance + ".m", next.run_dir + "/" + next.instance + ".saved"};
  MIGSOAK_TRY(proc::check_socket_path(job.socket_path));
  MIGSOAK_ASSIGN(job.destination_xml, guest_->xml_of(next));
  if (spec_.accel == "tcg") job.downtime_limit_ms = kTcgDowntimeLimitMs;
  // Both ends are one host: a file that is open here is the file that is open there. Of the destination's devices, for
  // they have those that were plugged here.
  job.files_shared = std::any_of(next.devices.begin(), next.devices.end(),
                                 [](const DeviceSpec& device) { return !device.image_path.empty(); });
  LibvirtSide& from = side();
  LibvirtSide& to = guest_->side(next.side);
  return LibvirtMigration::begin(
      {guest_->reactor, guest_->inbox, guest_, domain_, from.calls, to.calls, to.connection, to.daemon->uri(),
       [facts = to.facts, before = to.facts->starts] { return facts->starts > before; }, from.defines, to.defines},
      std::move(job));
}

void LibvirtMachine::destroy(unsigned flags) {
  if (destroyed_ || !alive() || side().daemon->child().exited()) return;
  destroyed_ = true;
  side().calls.run([domain = domain_, flags] { virDomainDestroyFlags(domain.get(), flags); });
}

base::Result<void> LibvirtMachine::quit(base::Deadline deadline) {
  begin_quit();
  const auto waited = guest_->reactor.run_until([this] { return !alive(); }, deadline, kSocketRecheck);
  if (waited != proc::Wait::ready) {
    kill();
    return base::fail(waited == proc::Wait::interrupted ? ErrorKind::interrupted : ErrorKind::timeout,
                      fmt::format("qemu:{} did not quit", spec_.side));
  }
  remove_sockets();
  return {};
}

// Not through the Reactor where the user has stopped the run: the end must come all the same.
void LibvirtMachine::kill() {
  destroy(VIR_DOMAIN_DESTROY_DEFAULT);
  if (alive() && destroyed_) {
    guest_->reactor.run_until([this] { return !alive(); }, base::Deadline::in(kDestroyMax), kSocketRecheck);
  }
  if (alive()) {
    ::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
    (void)wait_end(base::Deadline::in(kKilledMax));
  }
  remove_sockets();
}

bool LibvirtMachine::wait_end(base::Deadline deadline) const {
  pollfd watched{pidfd_.get(), POLLIN, 0};
  while (alive() && !deadline.passed()) ::poll(&watched, 1, static_cast<int>(deadline.left().count()));
  return !alive();
}

class LibvirtDriver : public Driver {
 public:
  LibvirtDriver(proc::Reactor& reactor, proc::Containment& containment)
      : reactor_(reactor), containment_(containment) {}
  ~LibvirtDriver() override { LibvirtDriver::end_guest(); }

  base::Result<void> begin_guest(const GuestPlace& place, base::Deadline deadline) override;
  std::vector<DriverDaemon*> daemons() override;
  std::vector<std::string> silent_daemons() override;
  std::vector<DaemonDomains> domains(base::Deadline deadline) override;
  base::Result<void> start_again(DriverDaemon& daemon) override;
  base::Result<void> rejoin(DriverDaemon& daemon, base::Deadline deadline) override;
  void end_guest() override;
  base::Result<std::unique_ptr<Machine>> start(MachineSpec spec) override;
  base::Result<std::unique_ptr<Machine>> take_over(Machine&, MachineSpec) override {
    return base::fail(ErrorKind::bad_input, "libvirt has no migration in place");
  }

 private:
  base::Result<void> connect(LibvirtSide& side, base::Deadline deadline);
  base::Result<void> create(LibvirtSide& side, const MachineSpec& spec);
  LibvirtSide& side_of(const DriverDaemon& daemon) const;
  base::Result<LibvirtDomain> look_up(LibvirtSide& side, base::Deadline deadline);
  void close(LibvirtSide& side);

  proc::Reactor& reactor_;
  proc::Containment& containment_;
  std::shared_ptr<LibvirtGuest> guest_;
};

base::Result<void> LibvirtDriver::begin_guest(const GuestPlace& place, base::Deadline deadline) {
  assert(guest_ == nullptr);
  MIGSOAK_TRY(start_libvirt_events());
  guest_ = std::make_shared<LibvirtGuest>(reactor_, containment_);
  for (const auto& [name, env] : place.sides) {
    auto side = std::make_unique<LibvirtSide>();
    LibvirtPlace of_side{name, place.run_dir, place.log_dir, env};
    of_side.env["MIGSOAK_PROCESS"] = "libvirtd:" + name;
    MIGSOAK_ASSIGN(side->daemon, LibvirtDaemon::start(reactor_, containment_, of_side));
    guest_->sides.emplace(name, std::move(side));
  }
  for (auto& [name, side] : guest_->sides) {
    MIGSOAK_TRY(connect(*side, deadline), "libvirtd:" + name);
    side->daemon->note_own_files();
  }
  return {};
}

// `connection` with its callbacks, which hold it themselves: they go before it is closed.
base::Result<LibvirtConnection> watch_domain(const LibvirtConnection& connection,
                                             const std::shared_ptr<LaneInbox>& inbox,
                                             const std::weak_ptr<DomainFacts>& facts) {
  auto* of_lifecycle = new CallbackContext{inbox, facts};
  const int lifecycle =
      virConnectDomainEventRegisterAny(connection.get(), nullptr, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                       VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), of_lifecycle, free_context);
  if (lifecycle < 0) {
    delete of_lifecycle;
    return libvirt_error("events of domains");
  }
  auto* of_removal = new CallbackContext{inbox, facts};
  const int removal =
      virConnectDomainEventRegisterAny(connection.get(), nullptr, VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
                                       VIR_DOMAIN_EVENT_CALLBACK(on_device_removed), of_removal, free_context);
  if (removal < 0) {
    delete of_removal;
    auto error = libvirt_error("events of devices");
    virConnectDomainEventDeregisterAny(connection.get(), lifecycle);
    return error;
  }
  auto* of_monitor = new CallbackContext{inbox, facts};
  const int monitor = virConnectDomainQemuMonitorEventRegister(connection.get(), nullptr, nullptr, on_monitor_event,
                                                               of_monitor, free_context, 0);
  if (monitor < 0) {
    delete of_monitor;
    auto error = libvirt_error("events of QEMU");
    virConnectDomainEventDeregisterAny(connection.get(), lifecycle);
    virConnectDomainEventDeregisterAny(connection.get(), removal);
    return error;
  }
  return LibvirtConnection(connection.get(), [connection, lifecycle, removal, monitor](virConnectPtr watched) {
    virConnectDomainEventDeregisterAny(watched, lifecycle);
    virConnectDomainEventDeregisterAny(watched, removal);
    virConnectDomainQemuMonitorEventDeregister(watched, monitor);
  });
}

base::Result<void> LibvirtDriver::connect(LibvirtSide& side, base::Deadline deadline) {
  proc::ChildProcess& child = side.daemon->child();
  const auto ended = [&] {
    return base::fail(ErrorKind::subject, base::printable(fmt::format("{} ended at its start: {}", side.daemon->name(),
                                                                      base::join(child.last_lines(), " | ")),
                                                          2000));
  };
  for (;;) {
    const auto waited =
        reactor_.run_until([&] { return side.daemon->has_socket() || child.exited(); }, deadline, kSocketRecheck);
    if (child.exited()) return ended();
    if (waited == proc::Wait::interrupted) return base::fail(ErrorKind::interrupted, "interrupted at its start");
    if (waited == proc::Wait::timeout) return base::fail(ErrorKind::timeout, "it made no socket");
    auto opened =
        call_libvirt<LibvirtConnection>(reactor_, guest_->inbox, side.calls, deadline, "connect",
                                        [uri = side.daemon->uri(), inbox = guest_->inbox,
                                         facts = std::weak_ptr(side.facts)]() -> base::Result<LibvirtConnection> {
                                          MIGSOAK_ASSIGN(const LibvirtConnection connection, open_libvirt(uri));
                                          return watch_domain(connection, inbox, facts);
                                        });
    if (opened) {
      side.connection = std::move(*opened);
      return {};
    }
    if (opened.error().kind != ErrorKind::subject || deadline.passed()) {
      return tl::unexpected<base::Error>(std::move(opened.error()));
    }
    // Its socket may be there a moment before it listens.
    const auto pause = base::Deadline::in(kSocketRecheck * 5).sooner(deadline);
    reactor_.run_until([&] { return child.exited(); }, pause);
  }
}

std::vector<DriverDaemon*> LibvirtDriver::daemons() {
  std::vector<DriverDaemon*> daemons;
  if (guest_ == nullptr) return daemons;
  for (auto& [name, side] : guest_->sides) {
    if (side->daemon != nullptr) daemons.push_back(side->daemon.get());
  }
  return daemons;
}

// One that has dropped our connection, or we its, answers nothing any more either.
std::vector<std::string> LibvirtDriver::silent_daemons() {
  std::vector<std::string> silent;
  if (guest_ == nullptr) return silent;
  for (const auto& entry : guest_->sides) {
    const auto& side = entry.second;
    if (side->daemon->child().exited()) continue;
    const auto answer = call_libvirt<void>(reactor_, guest_->inbox, side->calls, base::Deadline::in(kSignOfLifeMax),
                                           "sign of life", [connection = side->connection]() -> base::Result<void> {
                                             unsigned long version = 0;
                                             if (virConnectGetLibVersion(connection.get(), &version) == 0) return {};
                                             return libvirt_error("sign of life");
                                           });
    if (answer || answer.error().kind == ErrorKind::interrupted) continue;
    // The connection of one that ends goes a moment before itself.
    const auto ended = reactor_.run_until([&] { return side->daemon->child().exited(); },
                                          base::Deadline::in(kEndSeenMax), kSocketRecheck);
    if (ended == proc::Wait::timeout) silent.push_back(side->daemon->name());
  }
  return silent;
}

std::vector<Driver::DaemonDomains> LibvirtDriver::domains(base::Deadline deadline) {
  std::vector<DaemonDomains> all;
  if (guest_ == nullptr) return all;
  for (const auto& [name, side] : guest_->sides) {
    if (side->daemon->child().exited()) continue;
    auto told =
        call_libvirt<base::Json>(reactor_, guest_->inbox, side->calls, deadline, "list of domains",
                                 [connection = side->connection] { return domains_of(connection.get(), kDomainUuid); });
    all.push_back({side->daemon.get(), std::move(told)});
  }
  return all;
}

void LibvirtDriver::close(LibvirtSide& side) {
  // The last reference goes on the thread that may block: closing is a call as well.
  auto connection = std::make_shared<LibvirtConnection>(std::move(side.connection));
  (void)call_libvirt<void>(reactor_, guest_->inbox, side.calls, base::Deadline::in(kDaemonEndMax), "close",
                           [connection]() -> base::Result<void> {
                             connection->reset();
                             return {};
                           });
}

LibvirtSide& LibvirtDriver::side_of(const DriverDaemon& daemon) const {
  const auto found = std::find_if(guest_->sides.begin(), guest_->sides.end(),
                                  [&daemon](const auto& entry) { return entry.second->daemon.get() == &daemon; });
  assert(found != guest_->sides.end());
  return *found->second;
}

base::Result<void> LibvirtDriver::start_again(DriverDaemon& daemon) {
  LibvirtSide& side = side_of(daemon);
  assert(!daemon.alive());
  close(side);
  // What callbacks of the old connection still have to tell is of before: they find nothing to tell it to.
  side.facts = std::make_shared<DomainFacts>(std::move(*side.facts));
  return side.daemon->start_again(reactor_, containment_);
}

base::Result<void> LibvirtDriver::rejoin(DriverDaemon& daemon, base::Deadline deadline) {
  LibvirtSide& side = side_of(daemon);
  MIGSOAK_TRY(connect(side, deadline));
  if (side.machine == nullptr || !side.machine->alive()) return {};
  LibvirtMachine& machine = *side.machine;
  MIGSOAK_ASSIGN(LibvirtDomain domain, look_up(side, deadline));
  machine.rejoin(domain);
  // Answered when the daemon has connected to QEMU's monitor again, which it does beside its clients.
  MIGSOAK_TRY(machine.qmp().execute("query-status", base::Json::object(), deadline),
              "QMP of qemu:" + machine.spec().side);
  MIGSOAK_ASSIGN(guest_->running_xml,
                 call_libvirt<std::string>(reactor_, guest_->inbox, side.calls, deadline, "XML of the domain",
                                           [domain] { return xml_of(domain.get(), VIR_DOMAIN_XML_MIGRATABLE); }));
  MIGSOAK_ASSIGN(const int state, call_libvirt<int>(reactor_, guest_->inbox, side.calls, deadline,
                                                    "state of the domain", [domain]() -> base::Result<int> {
                                                      int told = VIR_DOMAIN_NOSTATE;
                                                      if (virDomainGetState(domain.get(), &told, nullptr, 0) == 0)
                                                        return told;
                                                      return libvirt_error("state of the domain");
                                                    }));
  if (state != VIR_DOMAIN_RUNNING) {
    return base::fail(ErrorKind::subject,
                      fmt::format("{} has its domain in state {} instead of running", daemon.name(), state));
  }
  const pid_t pid = qemu_in(side.daemon->pid_file(kDomainName), containment_);
  if (pid != machine.qemu_pid()) {
    return base::fail(ErrorKind::subject,
                      fmt::format("{} has its domain in pid {} instead of {}", daemon.name(), pid, machine.qemu_pid()));
  }
  return {};
}

void LibvirtDriver::end_guest() {
  if (guest_ == nullptr) return;
  for (auto& [name, side] : guest_->sides) {
    if (!side->defines || !side->connection) continue;
    (void)call_libvirt<void>(reactor_, guest_->inbox, side->calls, base::Deadline::in(kDaemonEndMax), "undefine",
                             [connection = side->connection] { return undefine_guest(connection.get(), kDomainUuid); });
  }
  for (auto& [name, side] : guest_->sides) close(*side);
  for (auto& [name, side] : guest_->sides) {
    if (side->daemon != nullptr) side->daemon->child().stop(kDaemonEndMax);
  }
  guest_.reset();
}

base::Result<void> LibvirtDriver::create(LibvirtSide& side, const MachineSpec& spec) {
  MIGSOAK_ASSIGN(std::string xml, guest_->xml_of(spec));
  return call_libvirt<void>(reactor_, guest_->inbox, side.calls, base::Deadline::in(kStartMax), "start of the domain",
                            [connection = side.connection, xml = std::move(xml)]() -> base::Result<void> {
                              if (hold_domain(virDomainCreateXML(connection.get(), xml.c_str(), VIR_DOMAIN_NONE)))
                                return {};
                              return libvirt_error("start of the domain");
                            });
}

base::Result<LibvirtDomain> LibvirtDriver::look_up(LibvirtSide& side, base::Deadline deadline) {
  return call_libvirt<LibvirtDomain>(reactor_, guest_->inbox, side.calls, deadline, "look-up of the domain",
                                     [connection = side.connection]() -> base::Result<LibvirtDomain> {
                                       LibvirtDomain found =
                                           hold_domain(virDomainLookupByUUIDString(connection.get(), kDomainUuid));
                                       if (found) return found;
                                       return libvirt_error("look-up of the domain");
                                     });
}

// One that is to take a guest was started by its daemon within the migration.
base::Result<std::unique_ptr<Machine>> LibvirtDriver::start(MachineSpec spec) {
  assert(guest_ != nullptr);
  LibvirtSide& side = guest_->side(spec.side);
  const auto deadline = base::Deadline::in(kStartMax);
  if (!spec.incoming) MIGSOAK_TRY(create(side, spec), "qemu:" + spec.side);
  const DomainFacts& facts = *side.facts;
  const auto waited = reactor_.run_until([&] { return facts.starts > facts.claimed; }, deadline);
  if (waited == proc::Wait::interrupted) return base::fail(ErrorKind::interrupted, "interrupted at a domain's start");
  if (waited == proc::Wait::timeout) {
    return base::fail(ErrorKind::timeout, side.daemon->name() + " did not tell of the domain's start");
  }
  MIGSOAK_ASSIGN(LibvirtDomain domain, look_up(side, deadline));
  const pid_t pid = qemu_in(side.daemon->pid_file(kDomainName), containment_);
  if (pid == 0) return base::fail(ErrorKind::subject, fmt::format("qemu:{} ended at its start", spec.side));
  return std::make_unique<LibvirtMachine>(guest_, std::move(spec), std::move(domain), pid);
}

std::unique_ptr<Driver> make_libvirt_driver(proc::Reactor& reactor, proc::Containment& containment) {
  return std::make_unique<LibvirtDriver>(reactor, containment);
}

base::Result<void> check_libvirt(const MachineSpec& spec) {
  MIGSOAK_TRY(command_line(spec));  // what QEMU would refuse of any driver
  MIGSOAK_TRY(LibvirtDaemon::check_paths({spec.side, spec.run_dir, "", {}}));
  MIGSOAK_TRY(domain_xml(spec, {kDomainName, kDomainUuid, {}}));
  return {};
}

}  // namespace

DriverKind driver_kind_libvirt() {
  DriverKind kind;
  kind.name = "libvirt";
  kind.summary = "QEMU by a private libvirtd for each side, which also migrates (precopy)";
  kind.make = make_libvirt_driver;
  kind.find_daemon = identify_libvirt;
  kind.check = check_libvirt;
  kind.why_not_plugged = why_not_attached;
  kind.settled_only = "libvirt changes nothing of a domain that migrates";
  kind.takes_odd_ram = false;
  return kind;
}

}  // namespace migsoak::hypervisor
