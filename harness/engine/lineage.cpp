#include "engine/lineage.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "engine/target_spec.h"
#include "hypervisor/device_type.h"
#include "plan/device_plan.h"
#include "plan/restart_plan.h"

namespace migsoak::engine {

using base::Result;
namespace fs = std::filesystem;

Lineage::Lineage(LaneContext context, int number, std::string machine, hypervisor::DeviceSet devices)
    : context_(std::move(context)),
      number_(number),
      machine_(std::move(machine)),
      devices_(std::move(devices)),
      channel_(context_.reactor),
      console_(context_.reactor, fmt::format("{}/console-l{}.log", context_.log_dir, number)),
      probe_state_(context_.lane),
      images_(context_.run_dir),
      daemons_(context_, probe_state_),
      targets_(context_, number, probe_state_) {
  channel_.end_waits_when([this] { return console_.panicked(); });
}

Result<void> Lineage::start_targets(record::Journal& journal, std::string& blamed) {
  MIGSOAK_TRY(images_.make(context_.scenario));
  MIGSOAK_TRY(targets_.start_lasting(journal, blamed));
  return daemons_.start(journal, blamed);
}

hypervisor::DeviceSpec Lineage::device_for(const hypervisor::DeviceSpec& device, const std::string& side,
                                           const std::string& slot) const {
  const Scenario& scenario = context_.scenario;
  hypervisor::DeviceSpec entry = device;
  entry.props = properties_of(scenario, device, side);
  entry.image_path = image_path(context_.run_dir, device.id);
  entry.version = context_.preflight.qemu.at(scenario.side(side).qemu).version;
  const DeviceScenario* cold = scenario.find_device(device.id);
  const TargetScenario* served_by = target_of(scenario, device);
  if (served_by != nullptr)
    entry.reconnect_ms = cold != nullptr ? cold->reconnect_ms : scenario::reconnect_ms_of_plugged(scenario);
  if (served_by == nullptr) return entry;
  if (const auto endpoint = targets_.endpoint_for(*served_by, device.id, {side, slot})) {
    entry.socket_path = endpoint->socket;
    entry.listens = endpoint->listener == target::Listener::qemu;
  }
  return entry;
}

std::set<pid_t> Lineage::known_pids() const {
  std::set<pid_t> pids;
  for (const TargetInstance& instance : targets_.all()) pids.insert(instance.target->child().pid());
  for (const DaemonInstance& instance : daemons_.all()) pids.insert(instance.daemon->process().pid);
  for (const Vm& vm : vms_) pids.insert(vm.machine->process().pid);
  return pids;
}

namespace {

// While it has a domain it keeps account of that in its directory, under names of its own making; one that has ended
// could not tidy up.
void expect_files_of(const DaemonInstance& instance, bool has_machine, probes::Scene& scene) {
  const hypervisor::DriverDaemon& daemon = *instance.daemon;
  scene.owners.emplace(daemon.directory(), daemon.name());
  const hypervisor::DriverDaemon::OwnFiles& own = daemon.own_files();
  if (has_machine || instance.lost || own.directories.empty()) {
    scene.expected_files.insert(daemon.directory());
    return;
  }
  scene.expected_files.insert(own.files.begin(), own.files.end());
  scene.looked_into.insert(own.directories.begin(), own.directories.end());
  scene.looked_into.insert(daemon.directory());
}

}  // namespace

probes::Scene Lineage::scene() const {
  probes::Scene scene;
  scene.run_dir = context_.run_dir;
  scene.guardian_pid = context_.containment.guardian_pid();
  scene.reparented = context_.containment.reparented();
  scene.known_processes = known_pids();
  scene.known_processes.insert(scene.guardian_pid);
  scene.expected_files.insert(images_.paths().begin(), images_.paths().end());
  std::vector<std::string> prefixes;
  for (const TargetInstance* instance : targets_.live()) {
    // Behind a wrapper the target is a child of it; the wrapper is not under test.
    scene.subjects.push_back({instance->name, instance->process_id, instance->target->pid(), {}});
    for (const std::string& socket : instance->target->sockets()) scene.expected_files.insert(socket);
  }
  for (const DaemonInstance& instance : daemons_.all()) {
    const bool has_machine = std::any_of(
        vms_.begin(), vms_.end(), [&](const Vm& vm) { return vm.machine->spec().side == instance.daemon->side(); });
    expect_files_of(instance, has_machine, scene);
    if (!instance.lost)
      scene.subjects.push_back({instance.name, instance.process_id, instance.daemon->process().pid, {}});
  }
  if (!context_.memory_dir.empty()) scene.expected_files.insert(context_.memory_dir);
  for (const Vm& vm : vms_) {
    if (vm.ram != nullptr) scene.expected_files.insert(vm.ram->path());
    scene.subjects.push_back({vm.name, vm.process_id, vm.machine->qemu_pid(), {}});
    scene.subjects.back().raised_early = vm.machine->spec().incoming && &vm != current_;
    prefixes.push_back(vm.machine->spec().instance + ".");
  }
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(context_.run_dir, ignored)) {
    const std::string name = entry.path().filename();
    const bool ours = std::any_of(prefixes.begin(), prefixes.end(), [&](const auto& p) { return name.starts_with(p); });
    if (ours) scene.expected_files.insert(entry.path());
  }
  return scene;
}

Vm* Lineage::find(std::int64_t process_id) {
  const auto found =
      std::find_if(vms_.begin(), vms_.end(), [process_id](const Vm& vm) { return vm.process_id == process_id; });
  return found != vms_.end() ? &*found : nullptr;
}

}  // namespace migsoak::engine
