// GCC 12 sees a null pointer in asio's inlined executor comparison that no code path has.
#pragma GCC diagnostic ignored "-Wnull-dereference"
#include "fake_vm/fake_driver.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <cassert>
#include <cstring>
#include <deque>
#include <list>

#include "base/text.h"
#include "base/unique_fd.h"
#include "guest/line_frame.h"
#include "hypervisor/qmp_device_control.h"
#include "proc/proc_fs.h"

namespace migsoak::fake_vm {

using base::ErrorKind;
using base::Json;
using base::Result;
using hypervisor::MachineSpec;

namespace {

constexpr std::chrono::milliseconds kTurn{2};
constexpr std::chrono::milliseconds kBeatEvery{10};
constexpr const char* kTcpPort = "4444";

}  // namespace

// A unix socket with one peer, as a QEMU's serial port has it.
class Socket {
 public:
  ~Socket() { close(); }
  void listen(const std::string& path) {
    path_ = path;
    listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), std::min(path.size() + 1, sizeof address.sun_path));
    ::unlink(path.c_str());
    const bool good = ::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
                      ::listen(listener_.get(), 4) == 0;
    assert(good);
    (void)good;
  }
  void close() {
    peer_.reset();
    listener_.reset();
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  bool connected() {
    if (!peer_.valid() && listener_.valid()) {
      peer_.reset(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    }
    return peer_.valid();
  }
  void say(const std::string& bytes) { (void)::send(peer_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  std::string hear() {
    std::string heard;
    char buffer[4096];
    for (ssize_t got; connected() && (got = ::read(peer_.get(), buffer, sizeof buffer)) > 0;) {
      heard.append(buffer, static_cast<std::size_t>(got));
    }
    return heard;
  }

 private:
  std::string path_;
  base::UniqueFd listener_, peer_;
};

namespace {

tl::unexpected<base::Error> generic_error(const std::string& text) {
  return base::fail(ErrorKind::subject, "GenericError: " + text);
}

std::string path_of_file(const std::string& uri) {
  return uri.starts_with("file:") ? uri.substr(5) : "";
}

}  // namespace

struct Vm {
  Vm(World& world_in, MachineSpec spec_in) : world(world_in), spec(std::move(spec_in)) {}

  World& world;
  MachineSpec spec;
  bool alive = true;
  std::optional<proc::ExitStatus> status;
  bool hung = false;
  bool never_answers = false;
  bool answers = false;  // QMP is up
  int turns = 0;         // since its start
  std::string end_reason;
  std::string run_state;
  std::deque<qmp::Event> events;
  std::uint64_t last_id = 0;
  std::map<std::uint64_t, Result<Json>> replies;
  std::deque<std::pair<std::uint64_t, std::pair<std::string, Json>>> queued;  // until QMP is up
  std::vector<std::string> sent;
  std::vector<std::string> fresh_lines, all_lines;
  std::set<std::string> devices;
  Socket agent, console, cpr;

  std::string migration = "none";
  std::string migration_error;
  std::string mode = "normal";
  std::string listens_on;
  std::deque<std::string> to_pass;  // of the migration under way
  Vm* destination = nullptr;        // of it
  std::string state_file;           // of it
  std::optional<MachineSpec> becomes;
  bool exec_is_next = false;

  bool runs() const { return alive && !hung && run_state == "running"; }
  bool under_way() const { return !to_pass.empty(); }
  void announce(const std::string& name, Json data = Json::object()) {
    if (end_reason.empty()) events.push_back({name, std::move(data), base::Clock::now()});
  }
  void enter(const std::string& state) {
    migration = state;
    announce("MIGRATION", {{"status", state}});
  }
  void close_qmp(const std::string& why) {
    if (!end_reason.empty()) return;
    end_reason = why;
    for (const auto& [id, command] : queued) replies.emplace(id, generic_error("the QMP connection ended: " + why));
    queued.clear();
  }
  void end(proc::ExitStatus how) {
    if (!alive) return;
    alive = false;
    status = how;
    close_qmp("the peer closed it");
    agent.close();
    console.close();
    cpr.close();
  }
  void say(const std::string& line) {
    fresh_lines.push_back(line);
    all_lines.push_back(line);
  }
};

struct World {
  explicit World(proc::Reactor& loop) : reactor(loop), timer(loop.io()) {}

  proc::Reactor& reactor;
  boost::asio::steady_timer timer;
  std::list<std::shared_ptr<Vm>> vms;
  std::size_t started = 0;
  std::map<std::string, std::vector<std::string>> commands;  // by side
  FakeDriver::OnCommand on_command;
  FakeDriver::Conduct conduct;
  std::vector<std::pair<std::string, proc::ExitStatus>> ends_soon;

  // The guest.
  Vm* home = nullptr;
  bool booted = false, said_so = false, silent = false, corrupt = false, overlooks = false;
  LettingGo letting_go = LettingGo::announced;
  std::uint64_t beats = 0;
  base::Clock::time_point next_beat{};
  std::string heard;

  std::vector<std::string> states = {"setup", "active", "device", "completed"};
  std::optional<std::pair<proc::ExitStatus, std::string>> refuses_load;
  std::optional<proc::ExitStatus> refuses_exec;
  std::optional<base::Error> next_start_fails;
  bool next_never_answers = false;
  bool plugs_while_migrating = false;

  Vm* newest(const std::string& side) {
    for (auto it = vms.rbegin(); it != vms.rend(); ++it) {
      if ((*it)->alive && (*it)->spec.side == side) return it->get();
    }
    return nullptr;
  }
  void go_on(const std::shared_ptr<World>& self) {
    timer.expires_after(kTurn);
    timer.async_wait([self, this](boost::system::error_code error) {
      if (error) return;
      turn();
      go_on(self);
    });
  }
  void turn();
  void turn_of(Vm& vm);
  void pass_next_state(Vm& vm);
  void hand_over(Vm& source);
  void arrive(Vm& vm);
  void fail_migration(Vm& vm, const std::string& state, const std::string& why);
  void live();
  void take_request(const std::string& line);

  std::uint64_t send(Vm& vm, const std::string& command, const Json& arguments);
  Result<Json> execute(Vm& vm, const std::string& command, const Json& arguments);
  Result<Json> begin_migration(Vm& vm, const Json& arguments);
  Result<Json> begin_incoming(Vm& vm, const Json& arguments);
  Result<Json> plug(Vm& vm, const std::string& id) const;
  Result<Json> unplug(Vm& vm, const std::string& id) const;
  std::shared_ptr<Vm> add(MachineSpec spec);
};

void World::turn() {
  for (const auto& [side, how] : std::exchange(ends_soon, {})) {
    if (Vm* vm = newest(side)) vm->end(how);
  }
  // Some are added meanwhile.
  const std::vector<std::shared_ptr<Vm>> all(vms.begin(), vms.end());
  for (const auto& vm : all) {
    // Who dies while it sends cuts the stream.
    if (!vm->alive && vm->under_way() && vm->destination != nullptr) vm->destination->end({1, 0, false});
    if (vm->alive && !vm->hung) turn_of(*vm);
  }
  live();
}

void World::turn_of(Vm& vm) {
  ++vm.turns;
  const bool waits = vm.spec.incoming_channels.size() > 1;  // for its cpr channel
  if (!vm.answers && !vm.never_answers && !waits && vm.turns > 1 && vm.end_reason.empty()) {
    vm.answers = true;
    if (!vm.spec.incoming) {
      vm.run_state = "running";
      home = &vm;
      booted = true;
    }
    const std::string file = path_of_file(vm.spec.incoming_channels.front());
    if (vm.spec.incoming && !file.empty()) arrive(vm);  // it was exec'ed with the state
  }
  if (vm.answers) {
    while (!vm.queued.empty() && vm.end_reason.empty()) {
      const auto [id, command] = vm.queued.front();
      vm.queued.pop_front();
      vm.replies.emplace(id, execute(vm, command.first, command.second));
    }
  }
  vm.console.connected();
  if (std::exchange(vm.exec_is_next, false)) {
    vm.close_qmp("the peer closed it");
    if (refuses_exec) vm.end(*refuses_exec);
    return;
  }
  if (vm.under_way()) pass_next_state(vm);
}

void World::fail_migration(Vm& vm, const std::string& state, const std::string& why) {
  vm.to_pass.clear();
  vm.migration_error = why;
  vm.enter(state);
  vm.run_state = "running";
  vm.announce("RESUME");
  if (vm.destination != nullptr && home != vm.destination) vm.destination->end({1, 0, false});
}

void World::pass_next_state(Vm& vm) {
  if (vm.destination != nullptr && !vm.destination->alive) {
    return fail_migration(vm, "failed", "Unable to write to socket: Broken pipe");
  }
  const std::string state = vm.to_pass.front();
  if (vm.to_pass.size() == 1 && state != "completed" && state != "failed" && state != "cancelled") {
    if (vm.migration != state) vm.enter(state);
    return;  // it stays there
  }
  vm.to_pass.pop_front();
  if (state == "setup" && vm.destination != nullptr) vm.destination->answers = true;
  if (state == "failed" || state == "cancelled") return fail_migration(vm, state, "it was to fail");
  if (state == "completed") return hand_over(vm);
  if (state == "device" && vm.run_state == "running") {
    vm.run_state = "finish-migrate";
    vm.announce("STOP");
  }
  vm.enter(state);
}

void World::hand_over(Vm& vm) {
  if (vm.run_state == "running") vm.announce("STOP");
  if (vm.destination != nullptr) {
    if (vm.destination->hung) {
      vm.to_pass = {"device"};  // it does not read the end of the stream
      return;
    }
    if (refuses_load) {
      vm.destination->say(refuses_load->second);
      vm.destination->end(refuses_load->first);
      return fail_migration(vm, "failed", "");
    }
    vm.run_state = "postmigrate";
    vm.enter("completed");
    return arrive(*vm.destination);
  }
  vm.run_state = "postmigrate";
  home = nullptr;
  const base::UniqueFd file(::open(vm.state_file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  vm.enter("completed");
  vm.exec_is_next = vm.mode == "cpr-exec";
}

// The guest goes on here.
void World::arrive(Vm& vm) {
  if (refuses_load) {
    vm.say(refuses_load->second);
    return vm.end(refuses_load->first);
  }
  home = &vm;
  vm.run_state = "running";
  vm.announce("RESUME");
  vm.enter("completed");
}

void World::live() {
  for (const auto& vm : vms) {
    // What is said to a QEMU without the guest is lost.
    if (vm->alive && vm.get() != home) (void)vm->agent.hear();
  }
  if (home == nullptr || !home->runs() || silent || !home->agent.connected()) return;
  if (booted && !std::exchange(said_so, true)) home->agent.say(guest::frame_line("B"));
  heard += home->agent.hear();
  for (std::size_t end; (end = heard.find('\n')) != std::string::npos; heard.erase(0, end + 1)) {
    if (const auto text = guest::text_of_line(std::string_view(heard).substr(0, end))) {
      take_request(std::string(*text));
    }
  }
  const auto now = base::Clock::now();
  if (now < next_beat) return;
  next_beat = now + kBeatEvery;
  const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(now.time_since_epoch()).count();
  home->agent.say(guest::frame_line(fmt::format("H {:x} {:x}", ++beats, ns)));
}

void World::take_request(const std::string& line) {
  const std::vector<std::string> words = base::split(line, ' ');
  if (words.size() < 3 || words[0] != "Q") return;
  Json answer = {{"ok", true}, {"guest_ms", 1}};
  if (words[2] == "hello") {
    answer.update({{"agent_version", "fake"}, {"kernel", "none"}, {"boot_ms", 1}, {"disks", Json::array()}});
  } else if (words[2] == "verify") {
    answer["ram"] = {{"verified_bytes", 1 << 20},
                     {"pages_stale", 0},
                     {"pages_misplaced", 0},
                     {"pages_garbage", std::exchange(corrupt, false) ? 1 : 0}};
    answer["disks"] = Json::array();
  } else if (words[2] == "await") {
    answer["holds"] = !overlooks;
  }
  home->agent.say(guest::frame_line(fmt::format("A {} 1 1 {}", words[1], base::dump_json(answer))));
}

std::uint64_t World::send(Vm& vm, const std::string& command, const Json& arguments) {
  const std::uint64_t id = ++vm.last_id;
  vm.sent.push_back(command);
  commands[vm.spec.side].push_back(command);
  const Answer answer = on_command ? on_command(vm.spec.side, command) : Answer::as_ever;
  if (!vm.end_reason.empty()) {
    vm.replies.emplace(id, base::fail(ErrorKind::subject, "the QMP connection ended: " + vm.end_reason));
  } else if (answer == Answer::refuse) {
    vm.replies.emplace(id, generic_error(command + " is refused"));
  } else if (answer == Answer::stay_silent || vm.hung) {
    return id;
  } else if (!vm.answers || !vm.queued.empty()) {
    vm.queued.push_back({id, {command, arguments}});
  } else {
    auto done = execute(vm, command, arguments);
    vm.replies.emplace(id, std::move(done));
  }
  return id;
}

Result<Json> World::begin_incoming(Vm& vm, const Json& arguments) {
  const auto uri = base::json_get<std::string>(arguments, "uri", "");
  if (!vm.spec.incoming) return generic_error("'-incoming' was not specified on the command line");
  vm.listens_on = uri;
  if (!path_of_file(uri).empty()) arrive(vm);
  return Json::object();
}

Result<Json> World::begin_migration(Vm& vm, const Json& arguments) {
  std::string uri = base::json_get<std::string>(arguments, "uri", "");
  vm.destination = nullptr;
  vm.state_file = path_of_file(uri);
  if (const auto channels = arguments.find("channels"); channels != arguments.end()) {
    uri = "unix:" + (*channels)[0]["addr"]["path"].get<std::string>();
  }
  if (vm.state_file.empty()) {
    for (const auto& other : vms) {
      const bool by_tcp = uri.starts_with("tcp:") && other->listens_on.starts_with("tcp:");
      const bool waits = other->spec.incoming_channels.front() == uri;
      if (other->alive && other->spec.incoming && (other->listens_on == uri || by_tcp || waits)) {
        vm.destination = other.get();
      }
    }
    if (vm.destination == nullptr) return generic_error("Failed to connect to '" + uri + "': Connection refused");
  } else if (::access(vm.state_file.substr(0, vm.state_file.rfind('/')).c_str(), W_OK) != 0) {
    return generic_error("Failed to open '" + vm.state_file + "': No such file or directory");
  }
  vm.migration_error.clear();
  vm.migration = "none";  // what it came by is not what is asked about any more
  vm.to_pass.assign(states.begin(), states.end());
  return Json::object();
}

Result<Json> World::plug(Vm& vm, const std::string& id) const {
  if (vm.under_way() && !plugs_while_migrating) return generic_error("device_add not allowed while migrating");
  if (!vm.devices.insert(id).second) return generic_error("Duplicate device ID '" + id + "'");
  return Json::object();
}

Result<Json> World::unplug(Vm& vm, const std::string& id) const {
  if (!vm.devices.contains(id)) return base::fail(ErrorKind::subject, "DeviceNotFound: Device '" + id + "' not found");
  if (vm.under_way() && !plugs_while_migrating) return generic_error("device_del not allowed while migrating");
  if (letting_go == LettingGo::never) return Json::object();
  vm.devices.erase(id);
  if (letting_go == LettingGo::announced) vm.announce("DEVICE_DELETED", {{"device", id}});
  return Json::object();
}

Result<Json> World::execute(Vm& vm, const std::string& command, const Json& arguments) {
  if (command == "query-status") return Json{{"status", vm.run_state}, {"running", vm.run_state == "running"}};
  if (command == "query-migrate") {
    Json info = {{"status", vm.migration}};
    if (vm.migration == "completed") info.update({{"total-time", 8}, {"downtime", 2}, {"setup-time", 1}});
    if (vm.migration != "none") info["ram"] = {{"transferred", 1 << 20}, {"remaining", 0}, {"total", 1 << 20}};
    if (!vm.migration_error.empty()) info["error-desc"] = vm.migration_error;
    if (vm.listens_on.starts_with("tcp:")) info["socket-address"] = Json::array({Json{{"port", kTcpPort}}});
    return info;
  }
  if (command == "query-migrate-parameters") return Json{{"max-bandwidth", 1LL << 40}};
  if (command == "migrate-set-parameters") {
    vm.mode = base::json_get<std::string>(arguments, "mode", vm.mode);
    return Json::object();
  }
  if (command == "migrate") return begin_migration(vm, arguments);
  if (command == "migrate-incoming") return begin_incoming(vm, arguments);
  if (command == "migrate_cancel") {
    if (vm.under_way()) fail_migration(vm, "cancelled", "");
    return Json::object();
  }
  if (command == "cont") {
    const bool stopped = vm.run_state != "running";
    vm.run_state = "running";
    if (stopped) vm.announce("RESUME");
    return Json::object();
  }
  if (command == "quit") {
    vm.end({0, 0, false});
    return Json::object();
  }
  if (command == "device_add") return plug(vm, arguments.value("id", ""));
  if (command == "device_del") return unplug(vm, arguments.value("id", ""));
  if (command == "qom-list" && arguments.value("path", "") == "/machine/peripheral") {
    Json list = Json::array();
    for (const std::string& id : vm.devices) list.push_back({{"name", id}});
    return list;
  }
  static const std::set<std::string> lists = {"qom-list", "query-chardev", "query-pci", "device-list-properties"};
  return lists.contains(command) ? Json::array() : Json::object();
}

std::shared_ptr<Vm> World::add(MachineSpec spec) {
  auto vm = std::make_shared<Vm>(*this, std::move(spec));
  vm->run_state = vm->spec.incoming ? "inmigrate" : "prelaunch";
  vm->never_answers = std::exchange(next_never_answers, false);
  for (const hypervisor::DeviceSpec& device : vm->spec.devices) vm->devices.insert(device.id);
  const std::string base = vm->spec.run_dir + "/" + vm->spec.instance;
  vm->agent.listen(base + ".a");
  vm->console.listen(base + ".c");
  if (vm->spec.incoming_channels.size() > 1) {
    vm->cpr.listen(base::parse_json(vm->spec.incoming_channels[1]).value()["addr"]["path"].get<std::string>());
  }
  vms.push_back(vm);
  ++started;
  return vm;
}

namespace {

class FakeMonitor : public qmp::Monitor {
 public:
  explicit FakeMonitor(std::shared_ptr<Vm> vm) : vm_(std::move(vm)) {}

  bool connected() const override { return vm_->answers && vm_->end_reason.empty(); }
  std::string end_reason() const override { return vm_->end_reason; }
  bool replied(std::uint64_t id) const override { return vm_->replies.contains(id); }
  Result<Json> take_reply(std::uint64_t id, base::Deadline deadline) override {
    const auto waited = vm_->world.reactor.run_until([&] { return replied(id); }, deadline);
    const auto found = vm_->replies.find(id);
    if (found != vm_->replies.end()) {
      auto reply = std::move(found->second);
      vm_->replies.erase(found);
      return reply;
    }
    if (waited == proc::Wait::interrupted) return base::fail(ErrorKind::interrupted, "interrupted");
    return base::fail(ErrorKind::timeout, "QMP did not answer in time");
  }
  std::vector<qmp::Event> take_events() override {
    std::vector<qmp::Event> taken(vm_->events.begin(), vm_->events.end());
    vm_->events.clear();
    return taken;
  }
  std::string protocol_error() const override { return ""; }

 private:
  std::uint64_t send_command(const std::string& command, const Json& arguments, int) override {
    return vm_->world.send(*vm_, command, arguments);
  }
  bool find_event(const std::string& name, const std::string& key, const std::string& value) const override {
    return std::any_of(vm_->events.begin(), vm_->events.end(), [&](const qmp::Event& event) {
      return event.name == name && (key.empty() || base::json_get<std::string>(event.data, key, "") == value);
    });
  }

  std::shared_ptr<Vm> vm_;
};

class FakeMachine : public hypervisor::Machine {
 public:
  FakeMachine(std::shared_ptr<World> world, std::shared_ptr<Vm> vm)
      : world_(std::move(world)), vm_(std::move(vm)), monitor_(vm_) {}
  ~FakeMachine() override {
    vm_->end({-1, 9, false});
    if (world_->home == vm_.get()) world_->home = nullptr;
    for (const auto& other : world_->vms) {
      if (other->destination == vm_.get()) other->destination = nullptr;
    }
    world_->vms.remove(vm_);
  }

  const MachineSpec& spec() const override { return vm_->spec; }
  Result<void> wait_ready(base::Deadline deadline) override {
    const auto waited = world_->reactor.run_until([&] { return ready() || !vm_->alive; }, deadline);
    if (ready()) return {};
    if (waited == proc::Wait::interrupted) return base::fail(ErrorKind::interrupted, "interrupted");
    if (waited == proc::Wait::timeout) return base::fail(ErrorKind::timeout, "never answered on QMP");
    return base::fail(ErrorKind::subject, fmt::format("qemu:{} ended before QMP answered ({})", vm_->spec.side,
                                                      proc::to_string(vm_->status.value_or(proc::ExitStatus{}))));
  }
  bool ready() const override { return monitor_.connected() && !vm_->hung; }
  // This one is there all the time, and may be looked at.
  hypervisor::ProcessIdentity process() const override {
    return {::getpid(), proc::read_stat(::getpid())->start_ticks};
  }
  pid_t qemu_pid() const override { return ::getpid(); }
  qmp::Monitor& qmp() override { return monitor_; }
  hypervisor::DeviceControl& devices() override { return devices_; }
  std::string agent_socket() const override { return vm_->spec.run_dir + "/" + vm_->spec.instance + ".a"; }
  std::string console_socket() const override { return vm_->spec.run_dir + "/" + vm_->spec.instance + ".c"; }
  std::vector<std::string> take_lines() override { return std::exchange(vm_->fresh_lines, {}); }
  std::uint64_t take_dropped_bytes() override { return 0; }
  std::vector<std::string> last_lines() const override { return vm_->all_lines; }
  bool alive() const override { return vm_->alive; }
  std::optional<proc::ExitStatus> exit_status() const override { return vm_->status; }
  Result<void> set_exec(const MachineSpec& next) override {
    vm_->becomes = next;
    return {};
  }
  std::optional<std::uint64_t> send_exec() override {
    if (!vm_->becomes) return std::nullopt;
    return monitor_.send("migrate-set-parameters", {{"cpr-exec-command", Json::array({"fake"})}});
  }
  Result<std::unique_ptr<hypervisor::DrivenMigration>> begin_migration(const MachineSpec& next,
                                                                       const std::string& transport,
                                                                       const record::LibvirtWay& way) override {
    if (world_->conduct) return world_->conduct(next, transport, way);
    return Machine::begin_migration(next, transport, way);
  }
  void begin_quit() override {
    if (vm_->alive && monitor_.connected() && !std::exchange(quit_sent_, true)) monitor_.send("quit");
  }
  Result<void> quit(base::Deadline deadline) override {
    begin_quit();
    world_->reactor.run_until([&] { return !vm_->alive; }, deadline);
    if (!vm_->alive) return {};
    kill();
    return base::fail(ErrorKind::timeout, "did not quit");
  }
  void kill() override { vm_->end({-1, 9, false}); }

  // By exec: the process goes on, and is not this machine's any more.
  void leave() {
    vm_->alive = false;
    vm_->close_qmp("the peer closed it");
    vm_->agent.close();
    vm_->console.close();
  }

 private:
  std::shared_ptr<World> world_;
  std::shared_ptr<Vm> vm_;
  FakeMonitor monitor_;
  hypervisor::QmpDeviceControl devices_{monitor_};
  bool quit_sent_ = false;
};

}  // namespace

FakeDriver::FakeDriver(proc::Reactor& reactor) : world_(std::make_shared<World>(reactor)) {
  world_->go_on(world_);
}

FakeDriver::~FakeDriver() {
  world_->timer.cancel();
}

Result<std::unique_ptr<hypervisor::Machine>> FakeDriver::start(MachineSpec spec) {
  if (const auto error = std::exchange(world_->next_start_fails, std::nullopt)) return tl::unexpected(*error);
  return std::make_unique<FakeMachine>(world_, world_->add(std::move(spec)));
}

Result<std::unique_ptr<hypervisor::Machine>> FakeDriver::take_over(hypervisor::Machine& old, MachineSpec next) {
  auto& machine = dynamic_cast<FakeMachine&>(old);
  if (!machine.alive()) {
    return base::fail(ErrorKind::subject,
                      fmt::format("qemu:{} ended before it could exec ({})", machine.spec().side,
                                  proc::to_string(machine.exit_status().value_or(proc::ExitStatus{}))));
  }
  machine.leave();
  return std::make_unique<FakeMachine>(world_, world_->add(std::move(next)));
}

// This one is there all the time, and may be looked at.
hypervisor::ProcessIdentity FakeDaemon::process() const {
  return {::getpid(), proc::read_stat(::getpid())->start_ticks};
}
void FakeDaemon::begin_stop(bool by_kill) {
  stops.emplace_back(by_kill ? "SIGKILL" : "SIGTERM");
  if (by_kill) return end({-1, 9, false});
  if (ends_when_asked) end({0, 0, false});
}

void FakeDriver::have_daemons(const std::vector<std::string>& sides) {
  for (const std::string& side : sides) daemons_.push_back(std::make_unique<FakeDaemon>(side));
}
FakeDaemon& FakeDriver::daemon(const std::string& side) {
  const auto found = std::find_if(daemons_.begin(), daemons_.end(),
                                  [&side](const auto& daemon) { return daemon->name() == "libvirtd:" + side; });
  assert(found != daemons_.end());
  return **found;
}
std::vector<hypervisor::DriverDaemon*> FakeDriver::daemons() {
  std::vector<hypervisor::DriverDaemon*> all;
  for (const auto& daemon : daemons_) all.push_back(daemon.get());
  return all;
}
Result<void> FakeDriver::start_again(hypervisor::DriverDaemon& daemon) {
  auto& fake = dynamic_cast<FakeDaemon&>(daemon);
  if (fake.on_start) MIGSOAK_TRY(fake.on_start());
  fake.begin();
  return {};
}
Result<void> FakeDriver::rejoin(hypervisor::DriverDaemon& daemon, base::Deadline /*deadline*/) {
  auto& fake = dynamic_cast<FakeDaemon&>(daemon);
  return fake.on_rejoin ? fake.on_rejoin() : Result<void>();
}

std::vector<hypervisor::Driver::DaemonDomains> FakeDriver::domains(base::Deadline /*deadline*/) {
  std::vector<DaemonDomains> all;
  for (const auto& daemon : daemons_) {
    if (daemon->alive() && daemon->on_domains) all.push_back({daemon.get(), daemon->on_domains()});
  }
  return all;
}

void FakeDriver::on_command(OnCommand listener) {
  world_->on_command = std::move(listener);
}
void FakeDriver::end(const std::string& side, proc::ExitStatus status) {
  if (Vm* vm = world_->newest(side)) vm->end(status);
}
void FakeDriver::end_unseen(const std::string& side) {
  if (Vm* vm = world_->newest(side)) {
    vm->end({});
    vm->status.reset();
  }
}
void FakeDriver::end_soon(const std::string& side, proc::ExitStatus status) {
  world_->ends_soon.emplace_back(side, status);
}
void FakeDriver::close_qmp(const std::string& side) {
  if (Vm* vm = world_->newest(side)) vm->close_qmp("the peer closed it");
}
void FakeDriver::hang(const std::string& side) {
  if (Vm* vm = world_->newest(side)) vm->hung = true;
}
void FakeDriver::say(const std::string& side, const std::string& line) {
  if (Vm* vm = world_->newest(side)) vm->say(line);
}
void FakeDriver::silence_guest() {
  world_->silent = true;
}
bool FakeDriver::guest_runs() const {
  return world_->home != nullptr && world_->home->runs();
}
std::string FakeDriver::guest_side() const {
  return world_->home != nullptr ? world_->home->spec.side : "";
}
void FakeDriver::corrupt_guest() {
  world_->corrupt = true;
}
void FakeDriver::panic_guest() {
  if (world_->home != nullptr) world_->home->console.say("Kernel panic - not syncing: as told\r\n");
}
void FakeDriver::lets_go(LettingGo how) {
  world_->letting_go = how;
}
void FakeDriver::guest_overlooks_devices() {
  world_->overlooks = true;
}
void FakeDriver::plug_while_migrating() {
  world_->plugs_while_migrating = true;
}
void FakeDriver::migrations_pass(std::vector<std::string> states) {
  world_->states = std::move(states);
}
void FakeDriver::refuse_load(proc::ExitStatus status, const std::string& last_line) {
  world_->refuses_load = {status, last_line};
}
void FakeDriver::next_never_answers() {
  world_->next_never_answers = true;
}
void FakeDriver::refuse_exec(proc::ExitStatus status) {
  world_->refuses_exec = status;
}
void FakeDriver::conduct(Conduct conduct) {
  world_->conduct = std::move(conduct);
}
void FakeDriver::fail_next_start(base::Error error) {
  world_->next_start_fails = std::move(error);
}
std::size_t FakeDriver::started() const {
  return world_->started;
}
std::vector<std::string> FakeDriver::commands(const std::string& side) const {
  return world_->commands[side];
}

hypervisor::Drivers drivers_of(std::unique_ptr<FakeDriver> driver) {
  std::map<std::string, std::unique_ptr<hypervisor::Driver>> made;
  made["direct"] = std::move(driver);
  return hypervisor::Drivers(std::move(made));
}

}  // namespace migsoak::fake_vm
