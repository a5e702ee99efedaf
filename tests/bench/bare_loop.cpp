// The loop to measure against: the same QEMUs, target, transport and guest, with nothing looked at and nothing written.
// With driver "libvirt": the same calls of its C API, by the driver that the soak loop has.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <memory>

#include "block.h"
#include "engine/target_spec.h"
#include "guest/channel.h"
#include "hypervisor/driver.h"
#include "ops/modes/mode.h"
#include "plan/planner.h"
#include "preflight/preflight.h"
#include "proc/run_dir.h"
#include "target/target.h"

namespace migsoak::bench {

using base::Deadline;
using base::ErrorKind;
using base::Result;
using scenario::Scenario;
using std::chrono::seconds;

namespace {

constexpr seconds kStepMax{60};

struct End {
  std::unique_ptr<hypervisor::Machine> machine;
  int stream = -1;
  std::string slot;
};

class BareLoop {
 public:
  explicit BareLoop(const Scenario& scenario) : scenario_(scenario) {}
  ~BareLoop() {
    guest_ = {};
    if (driver_ != nullptr) driver_->end_guest();
    targets_.clear();
  }
  BareLoop(const BareLoop&) = delete;
  BareLoop& operator=(const BareLoop&) = delete;

  Result<void> boot();
  Result<void> iterate(std::int64_t index, std::map<std::string, std::vector<double>>& phases_ms);

 private:
  class Listener : public ops::MigrationListener {
   public:
    Listener(BareLoop& loop, ops::ProcessOrder order, End& next, const hypervisor::MachineSpec& spec)
        : loop_(loop), order_(order), next_(next), spec_(spec) {}
    Result<hypervisor::Machine*> raise(Deadline) override { return loop_.raise(order_, next_, spec_); }
    Result<void> release_source() override {
      if (order_ == ops::ProcessOrder::within) return {};
      return base::fail(ErrorKind::bad_input, "no mode of the benchmark ends its source first");
    }

   private:
    BareLoop& loop_;
    ops::ProcessOrder order_;
    End& next_;
    const hypervisor::MachineSpec& spec_;
  };

  Result<void> start_targets();
  hypervisor::MachineSpec machine_spec(const std::string& side_name, const ops::Mode* mode, const std::string& slot);
  Result<End> spawn(const std::string& side, const ops::Mode* mode, const std::string& slot);
  Result<void> make_ready(End& end);
  Result<hypervisor::Machine*> raise(ops::ProcessOrder order, End& next, const hypervisor::MachineSpec& spec);

  const Scenario& scenario_;
  std::unique_ptr<proc::RunDir> run_dir_;
  std::unique_ptr<proc::Containment> containment_;
  proc::Reactor reactor_;
  std::unique_ptr<hypervisor::Driver> driver_;
  preflight::Preflight preflight_;
  guest::GuestChannel channel_{reactor_};
  std::vector<std::unique_ptr<target::Target>> targets_;
  End guest_;
  int spawned_ = 0;
};

Result<void> make_image(const std::string& path, std::uint64_t bytes) {
  const base::UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd.valid() || ::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) return base::fail_errno(path, errno);
  return {};
}

// As engine::Lineage makes it.
Result<void> BareLoop::start_targets() {
  for (const scenario::DeviceScenario& device : scenario_.devices) {
    const scenario::TargetScenario* served_by = scenario_.find_target(device.target);
    MIGSOAK_TRY(make_image(fmt::format("{}/{}.img", run_dir_->path(), device.id),
                           served_by != nullptr ? served_by->size_bytes : device.size_bytes));
  }
  for (const scenario::TargetScenario& target : scenario_.targets) {
    target::TargetSpec spec = engine::target_spec(scenario_, target, {}, run_dir_->path());
    spec.slots = {"0", "1"};
    spec.log_file = fmt::format("{}/{}.log", run_dir_->path(), target.name);
    MIGSOAK_ASSIGN(auto started, target::start_target(reactor_, *containment_, std::move(spec)));
    MIGSOAK_TRY(started->wait_ready(Deadline::in(kStepMax)));
    targets_.push_back(std::move(started));
  }
  return {};
}

// As engine::Lineage makes it.
hypervisor::MachineSpec BareLoop::machine_spec(const std::string& side_name, const ops::Mode* mode,
                                               const std::string& slot) {
  const scenario::SideScenario& side = scenario_.side(side_name);
  hypervisor::MachineSpec spec;
  spec.side = side_name;
  spec.qemu = preflight_.qemu.at(side.qemu).path;
  const fleet::Build& build = preflight_.builds.at(side.qemu);
  spec.qemu_args = build.args;
  spec.env = build.env;
  for (const auto& [key, value] : side.env) spec.env[key] = value;
  spec.version = preflight_.qemu.at(side.qemu).version;
  spec.aux_ram_share = preflight_.aux_ram_share(side);
  spec.wrapper = side.wrapper;
  spec.extra_args = side.extra_args;
  spec.machine = scenario_.guest.machines.front();
  spec.memory_bytes = scenario_.guest.memory_bytes;
  spec.memory_extra_bytes = preflight_.memory_extra_bytes;
  spec.cpus = scenario_.guest.cpus;
  spec.accel = preflight_.accel;
  spec.image = preflight_.image;
  spec.incoming = mode != nullptr;
  spec.run_dir = run_dir_->path();
  spec.instance = fmt::format("q{}", spawned_++);
  for (const scenario::DeviceScenario& device : scenario_.devices) {
    hypervisor::DeviceSpec entry;
    entry.id = device.id;
    entry.type = device.type;
    entry.props = device.props;
    if (const auto on = device.on.find(side_name); on != device.on.end()) {
      for (const auto& [key, value] : on->second) entry.props[key] = value;
    }
    entry.image_path = fmt::format("{}/{}.img", run_dir_->path(), device.id);
    for (const auto& target : targets_) {
      if (target->spec().name == device.target) entry.socket_path = target->connect(device.id, slot).socket;
    }
    spec.devices.push_back(std::move(entry));
  }
  const std::string base = run_dir_->path() + "/" + spec.instance;
  if (mode != nullptr && mode->needs.process_order == ops::ProcessOrder::waiting) {
    spec.incoming_channels = ops::cpr_incoming(base + ".m", base + ".x");
  } else if (mode != nullptr && mode->needs.process_order == ops::ProcessOrder::in_place) {
    spec.incoming_channels = {"file:" + base + ".state"};
  }
  return spec;
}

Result<End> BareLoop::spawn(const std::string& side, const ops::Mode* mode, const std::string& slot) {
  End end;
  end.slot = slot;
  MIGSOAK_ASSIGN(end.machine, driver_->start(machine_spec(side, mode, slot)));
  return end;
}

// Of a destination that does not answer, or is not there, before the migration.
Result<hypervisor::Machine*> BareLoop::raise(ops::ProcessOrder order, End& next, const hypervisor::MachineSpec& spec) {
  if (order == ops::ProcessOrder::in_place) {
    MIGSOAK_ASSIGN(next.machine, driver_->take_over(*guest_.machine, spec));
  } else if (order == ops::ProcessOrder::within) {
    MIGSOAK_ASSIGN(next.machine, driver_->start(spec));
  }
  MIGSOAK_TRY(make_ready(next));
  return next.machine.get();
}

Result<void> BareLoop::make_ready(End& end) {
  MIGSOAK_TRY(end.machine->wait_ready(Deadline::in(kStepMax)));
  MIGSOAK_ASSIGN(end.stream, channel_.attach(end.machine->agent_socket(), Deadline::in(kStepMax)));
  return {};
}

Result<void> BareLoop::boot() {
  MIGSOAK_ASSIGN(run_dir_, proc::RunDir::create("bench-bare"));
  MIGSOAK_ASSIGN(containment_, proc::Containment::start({"bench-bare", run_dir_->path(), ""}));
  driver_ = hypervisor::find_driver_kind(scenario_.sides.front().driver)->make(reactor_, *containment_);
  MIGSOAK_ASSIGN(preflight_, preflight::run_preflight(reactor_, *containment_, scenario_, run_dir_->path()));
  MIGSOAK_TRY(start_targets());
  hypervisor::GuestPlace place{run_dir_->path(), run_dir_->path(), {}};
  for (const scenario::SideScenario& side : scenario_.sides) place.sides.push_back({side.name, side.libvirt_env});
  MIGSOAK_TRY(driver_->begin_guest(place, Deadline::in(kStepMax)));
  MIGSOAK_ASSIGN(guest_, spawn(plan::plan_iteration(scenario_, 0).source_side, nullptr, "0"));
  MIGSOAK_TRY(make_ready(guest_));
  channel_.make_active(guest_.stream);
  MIGSOAK_TRY(channel_.wait_hello(Deadline::in(kStepMax)));
  guest::WorkloadSpec workload;
  workload.kind = scenario_.guest.workload == "idle" ? guest::Workload::idle : guest::Workload::dirty;
  workload.ram_bytes = scenario_.guest.ram_verify_bytes;
  workload.dirty_bytes_per_s = scenario_.guest.dirty_bytes_per_s;
  workload.disk_bytes_per_s = scenario_.guest.disk_bytes_per_s;
  workload.disk_queue_depth = scenario_.guest.queue_depth;
  workload.seed = scenario_.seed;
  return channel_.start_workload(workload, Deadline::in(kStepMax));
}

Result<void> BareLoop::iterate(std::int64_t index, std::map<std::string, std::vector<double>>& phases_ms) {
  auto last = base::Clock::now();
  const auto phase = [&](const char* name) {
    const auto now = base::Clock::now();
    phases_ms[name].push_back(base::milliseconds_between(last, now));
    last = now;
  };
  const record::Plan plan = plan::plan_iteration(scenario_, index);
  const ops::Mode* mode = ops::find_mode(plan.mode, scenario_.sides.front().driver);
  if (mode == nullptr) return base::fail(ErrorKind::bad_input, "unknown mode " + plan.mode);
  const ops::ProcessOrder order = mode->needs.process_order;
  const std::string slot = guest_.slot == "0" ? "1" : "0";
  End next;
  hypervisor::MachineSpec spec;
  const bool within = order == ops::ProcessOrder::within;
  if (order == ops::ProcessOrder::in_place || within) {
    next.slot = slot;
    spec = machine_spec(plan.destination_side, mode, slot);
  } else {
    MIGSOAK_ASSIGN(next, spawn(plan.destination_side, mode, slot));
    spec = next.machine->spec();
    if (order == ops::ProcessOrder::beside) MIGSOAK_TRY(make_ready(next));
  }
  phase("spawn_ms");
  const std::string base = run_dir_->path() + "/" + spec.instance;
  ops::MigrationChannels channels{plan.transport, run_dir_->path(), spec.instance,
                                  base + ".m",    base + ".x",      base + ".state"};
  if (plan.libvirt) channels.libvirt = *plan.libvirt;
  Listener listener(*this, order, next, spec);
  ops::MigrationContext migration{
      reactor_, listener, guest_.machine.get(), next.machine.get(), std::move(channels), Deadline::in(kStepMax), &spec};
  if (order == ops::ProcessOrder::in_place) MIGSOAK_TRY(guest_.machine->set_exec(spec));
  const ops::MigrationOutcome outcome = mode->run(migration);
  if (outcome.result != ops::MigrationResult::completed) {
    return base::fail(ErrorKind::subject,
                      fmt::format("bare iteration {}: {}: {}", index, ops::to_string(outcome.result), outcome.error));
  }
  phase("migrate_ms");
  channel_.make_active(next.stream);
  MIGSOAK_TRY(channel_.wait_heartbeat(next.stream, Deadline::in(kStepMax)));
  phase("heartbeat_ms");
  if (order != ops::ProcessOrder::in_place && !within) MIGSOAK_TRY(guest_.machine->quit(Deadline::in(kStepMax)));
  channel_.detach(guest_.stream);
  guest_ = std::move(next);
  phase("quit_ms");
  return {};
}

}  // namespace

Result<Block> run_bare_block(const Scenario& scenario, const BlockSize& size) {
  BareLoop loop(scenario);
  MIGSOAK_TRY(loop.boot());
  Block block;
  std::map<std::string, std::vector<double>> untimed;
  for (int index = 0; index < size.untimed; ++index) MIGSOAK_TRY(loop.iterate(index, untimed));
  const auto began = base::Clock::now();
  for (int index = 0; index < size.timed; ++index) {
    const auto one_began = base::Clock::now();
    MIGSOAK_TRY(loop.iterate(size.untimed + index, block.phases_ms));
    block.periods_ms.push_back(base::milliseconds_between(one_began, base::Clock::now()));
  }
  block.iterations_per_s = 1000.0 * size.timed / base::milliseconds_between(began, base::Clock::now());
  return block;
}

}  // namespace migsoak::bench
