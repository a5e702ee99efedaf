// The QEMU processes of a lineage: prepared, spawned, taken over by exec, retired.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <filesystem>

#include "engine/lineage.h"
#include "engine/process_record.h"

namespace migsoak::engine {

using base::Result;
namespace fs = std::filesystem;

namespace {

// Room for hotplug, where the scenario plugs such: as many as ops/hotplug has at once.
constexpr int kHotCpusMax = 3;
constexpr int kMemorySlots = 4;

}  // namespace

RamFile::~RamFile() {
  ::unlink(path_.c_str());
}

hypervisor::Driver& Lineage::driver_of(const std::string& side) const {
  return context_.drivers.named(context_.scenario.side(side).driver);
}

std::string Lineage::free_slot() const {
  for (int slot = 0; slot < 3; ++slot) {
    std::string name = std::to_string(slot);
    const bool taken = std::any_of(vms_.begin(), vms_.end(), [&](const Vm& p) { return p.slot == name; });
    if (!taken) return name;
  }
  assert(false && "at most three QEMUs of a lineage live at once");
  return "0";
}

hypervisor::MachineSpec Lineage::machine_spec(const std::string& side_name, const std::string& slot,
                                              const hypervisor::DeviceSet& devices) {
  const Scenario& scenario = context_.scenario;
  const SideScenario& side = scenario.side(side_name);
  hypervisor::MachineSpec spec;
  spec.side = side_name;
  spec.qemu = context_.preflight.qemu.at(side.qemu).path;
  spec.version = context_.preflight.qemu.at(side.qemu).version;
  const fleet::Build& build = context_.preflight.builds.at(side.qemu);
  spec.qemu_args = build.args;
  spec.env = build.env;
  for (const auto& [key, value] : side.env) spec.env[key] = value;
  spec.env["MIGSOAK_PROCESS"] = "qemu:" + side_name;
  spec.wrapper = side.wrapper;
  spec.extra_args = side.extra_args;
  spec.machine = machine_;
  spec.memory_bytes = scenario.guest.memory_bytes;
  spec.memory_extra_bytes = context_.preflight.memory_extra_bytes;
  spec.cpus = scenario.guest.cpus;
  if (scenario.hotplug.uses("cpu")) spec.cpus_max = scenario.guest.cpus + kHotCpusMax;
  if (scenario.hotplug.uses("memory")) spec.memory_slots = kMemorySlots;
  spec.accel = context_.preflight.accel;
  spec.aux_ram_share = context_.preflight.aux_ram_share(side);
  spec.image = context_.preflight.image;
  spec.run_dir = context_.run_dir;
  spec.instance = fmt::format("q{}", spawned_count_++);
  for (const hypervisor::DeviceSpec& device : devices) spec.devices.push_back(device_for(device, side_name, slot));
  return spec;
}

VmLaunch Lineage::prepare(const std::string& side, const ops::Mode* mode, const Vm* source,
                          const hypervisor::DeviceSet& devices) {
  VmLaunch prepared;
  prepared.slot = free_slot();
  prepared.devices = devices;
  prepared.spec = machine_spec(side, prepared.slot, devices);
  hypervisor::MachineSpec& spec = prepared.spec;
  if (!context_.memory_dir.empty()) {
    const bool same_ram = mode != nullptr && mode->needs.same_ram;
    assert(!same_ram || (source != nullptr && source->ram != nullptr));
    prepared.ram =
        same_ram
            ? source->ram
            : std::make_shared<RamFile>(fmt::format("{}/{}-{}.ram", context_.memory_dir, context_.lane, spec.instance));
    spec.ram_path = prepared.ram->path();
  }
  if (mode == nullptr) return prepared;
  spec.incoming = true;
  const std::string base = context_.run_dir + "/" + spec.instance;
  switch (mode->needs.process_order) {
    case ops::ProcessOrder::beside:
    case ops::ProcessOrder::within: break;
    case ops::ProcessOrder::waiting:
      prepared.main_socket = base + ".m";
      prepared.cpr_socket = base + ".x";
      spec.incoming_channels = ops::cpr_incoming(prepared.main_socket, prepared.cpr_socket);
      break;
    case ops::ProcessOrder::afterwards: prepared.state_file = base + ".state"; break;
    case ops::ProcessOrder::in_place:
      prepared.state_file = base + ".state";
      spec.incoming_channels = {"file:" + prepared.state_file};
      break;
  }
  return prepared;
}

Vm& Lineage::enlist(VmLaunch prepared, std::unique_ptr<hypervisor::Machine> machine, int generation,
                    record::Journal& journal) {
  Vm& vm = vms_.emplace_back();
  vm.name = "qemu:" + prepared.spec.side;
  vm.slot = std::move(prepared.slot);
  vm.devices = std::move(prepared.devices);
  vm.ram = std::move(prepared.ram);
  vm.main_socket = std::move(prepared.main_socket);
  vm.cpr_socket = std::move(prepared.cpr_socket);
  vm.generation = generation;
  vm.machine = std::move(machine);
  vm.spawned = base::Clock::now();
  record::ProcessInstance instance =
      register_process(context_.recorder, vm.name, vm.machine->process(), fs::path(prepared.spec.qemu).filename(),
                       journal.observation().iteration);
  instance.generation = generation;
  vm.process_id = instance.id;
  vm.start_ticks = instance.start_ticks;
  journal.born(std::move(instance));
  return vm;
}

Result<Vm*> Lineage::spawn(VmLaunch prepared, record::Journal& journal) {
  const base::Clock::time_point now = base::Clock::now();
  MIGSOAK_TRY(targets_.start_for({prepared.spec.side, prepared.slot}, journal));
  auto machine = driver_of(prepared.spec.side).start(prepared.spec);
  if (!machine) {
    end_targets_of(prepared.slot, journal);
    return tl::unexpected(std::move(machine.error()));
  }
  Vm& vm = enlist(std::move(prepared), *std::move(machine), /*generation=*/0, journal);
  vm.spawned = now;
  probes::adopt(probe_state_, {vm.name, vm.process_id, vm.machine->process().pid, {}});
  return &vm;
}

Result<Vm*> Lineage::take_over(Vm& old, VmLaunch next, record::Journal& journal) {
  drain_logs(journal);
  MIGSOAK_ASSIGN(auto machine, driver_of(next.spec.side).take_over(*old.machine, next.spec));
  Vm& vm = enlist(std::move(next), std::move(machine), old.generation + 1, journal);
  probes::adopt_generation(probe_state_, old.process_id, {vm.name, vm.process_id, vm.machine->process().pid, {}});
  record::ProcessEnd end;
  end.process_id = old.process_id;  // expected, with no status: the pid lives on
  journal.ended(end);
  forget(old);
  return &vm;
}

Result<void> Lineage::make_ready(Vm& vm, base::Deadline deadline) {
  MIGSOAK_TRY(vm.machine->wait_ready(deadline));
  if (vm.console_stream < 0) {
    MIGSOAK_ASSIGN(vm.console_stream, console_.attach(vm.machine->console_socket(), deadline));
  }
  if (vm.agent_stream < 0) {
    MIGSOAK_ASSIGN(vm.agent_stream, channel_.attach(vm.machine->agent_socket(), deadline));
    vm.spawn_ms = base::milliseconds_between(vm.spawned, base::Clock::now());
  }
  return {};
}

void Lineage::forget(Vm& vm) {
  if (vm.agent_stream >= 0) channel_.detach(vm.agent_stream);
  if (vm.console_stream >= 0) console_.detach(vm.console_stream);
  if (current_ == &vm) current_ = nullptr;
  vms_.remove_if([&vm](const Vm& other) { return &other == &vm; });
}

void Lineage::retire(Vm& vm, bool by_quit, record::Journal& journal) {
  hypervisor::Machine& machine = *vm.machine;
  // A process that had ended before it was asked to is note_unexpected_ends' business.
  if (by_quit && machine.alive()) {
    (void)machine.quit(base::Deadline::in(std::chrono::seconds(context_.scenario.deadline.quit_s)));
  } else {
    machine.kill();
  }
  {
    const record::PhaseScope teardown(journal, "teardown");
    drain_logs(journal);
    journal.ended(
        process_end(vm.process_id, true, machine.exit_status().value_or(proc::ExitStatus{}), machine.last_lines()));
    end_targets_of(vm.slot, journal);
  }
  forget(vm);
}

void Lineage::end_targets_of(const std::string& slot, record::Journal& journal) {
  for (TargetInstance* instance : targets_.live_in(slot)) {
    const bool well = targets_.stop(*instance);
    drain_logs(journal);  // its lines go with it
    if (well) {
      targets_.note_stopped(*instance, journal);
    } else {
      targets_.note_lost(*instance, journal);
    }
  }
  targets_.forget(slot);
}

// Its QEMU has ended or is about to, and takes it along.
bool Lineage::ends_with_its_vm(const TargetInstance& instance) const {
  return !instance.place.slot.empty() && std::any_of(vms_.begin(), vms_.end(), [&instance](const Vm& qemu) {
    return qemu.slot == instance.place.slot && (qemu.asked_to_quit || !qemu.machine->alive());
  });
}

bool Lineage::note_unexpected_ends(record::Journal& journal) {
  bool any = false;
  for (TargetInstance* instance : targets_.ended()) {
    if (ends_with_its_vm(*instance)) continue;
    any = true;
    targets_.note_lost(*instance, journal);
  }
  any = daemons_.note_unexpected_ends(journal) || any;
  for (auto it = vms_.begin(); it != vms_.end();) {
    if (it->asked_to_quit || it->machine->alive()) {
      ++it;
      continue;
    }
    any = true;
    drain_logs(journal);
    record_unexpected_end(it->name, it->process_id, it->machine->exit_status(), it->machine->last_lines(), journal);
    Vm& gone = *it++;
    end_targets_of(gone.slot, journal);
    forget(gone);
  }
  return any;
}

}  // namespace migsoak::engine
