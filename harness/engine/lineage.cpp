#include "engine/lineage.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <filesystem>

#include "base/text.h"
#include "base/unique_fd.h"
#include "engine/target_spec.h"
#include "hypervisor/device_type.h"
#include "plan/device_plan.h"
#include "plan/restart_plan.h"

namespace migsoak::engine {

using base::Result;
namespace fs = std::filesystem;

namespace {

Result<void> make_image(const std::string& path, std::uint64_t bytes) {
  const base::UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd.valid() || ::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return base::fail_errno("can't create the disk image " + path, errno);
  }
  return {};
}

}  // namespace

Lineage::Lineage(LaneContext context, int number, std::string machine, hypervisor::DeviceSet devices)
    : context_(std::move(context)),
      number_(number),
      machine_(std::move(machine)),
      devices_(std::move(devices)),
      channel_(context_.reactor),
      console_(context_.reactor, fmt::format("{}/console-l{}.log", context_.log_dir, number)) {
  channel_.end_waits_when([this] { return console_.panicked(); });
}

Lineage::~Lineage() {
  vms_.clear();
  for (TargetInstance& instance : targets_) instance.target->stop(std::chrono::seconds(3));
  targets_.clear();
  daemons_.clear();
  if (driver_begun_) driver_of(context_.scenario.sides.front().name).end_guest();
  std::error_code ignored;
  for (const std::string& image : images_) fs::remove(image, ignored);
}

Result<void> Lineage::start_targets(record::Journal& journal, std::string& blamed) {
  const Scenario& scenario = context_.scenario;
  for (const DeviceScenario& device : scenario.devices) {
    if (!hypervisor::needs_image(device.type)) continue;
    const TargetScenario* target = scenario.find_target(device.target);
    images_.push_back(image_of(device.id));
    MIGSOAK_TRY(make_image(images_.back(), target != nullptr ? target->size_bytes : device.size_bytes));
  }
  for (const hypervisor::DeviceSpec& disk : pluggable_disks(scenario)) {
    images_.push_back(image_of(disk.id));
    MIGSOAK_TRY(make_image(images_.back(), scenario.hotplug.size_bytes));
  }
  for (const TargetScenario& target : scenario.targets) {
    for (const TargetPlace& place : target_places(scenario, target)) {
      if (!place.slot.empty()) continue;
      blamed = target_process_name(target, place.side);
      MIGSOAK_TRY(start_target(target, place, journal));
    }
  }
  blamed.clear();
  return start_daemons(journal, blamed);
}

std::string Lineage::image_of(const std::string& device_id) const {
  return image_path(context_.run_dir, device_id);
}

hypervisor::DeviceSpec Lineage::device_for(const hypervisor::DeviceSpec& device, const std::string& side,
                                           const std::string& slot) const {
  const Scenario& scenario = context_.scenario;
  hypervisor::DeviceSpec entry = device;
  entry.props = properties_of(scenario, device, side);
  entry.image_path = image_of(device.id);
  entry.version = context_.preflight.qemu.at(scenario.side(side).qemu).version;
  const DeviceScenario* cold = scenario.find_device(device.id);
  const TargetScenario* served_by = target_of(scenario, device);
  if (served_by != nullptr)
    entry.reconnect_ms = cold != nullptr ? cold->reconnect_ms : scenario::reconnect_ms_of_plugged(scenario);
  if (served_by == nullptr) return entry;
  if (const auto endpoint = endpoint_for(*served_by, device.id, side, slot)) {
    entry.socket_path = endpoint->socket;
    entry.listens = endpoint->listener == target::Listener::qemu;
  }
  return entry;
}

std::set<pid_t> Lineage::known_pids() const {
  std::set<pid_t> pids;
  for (const TargetInstance& instance : targets_) pids.insert(instance.target->child().pid());
  for (const DaemonInstance& instance : daemons_) pids.insert(instance.daemon.child->pid());
  for (const Vm& vm : vms_) pids.insert(vm.machine->process().pid);
  return pids;
}

probes::Scene Lineage::scene() const {
  probes::Scene scene;
  scene.run_dir = context_.run_dir;
  scene.guardian_pid = context_.containment.guardian_pid();
  scene.reparented = context_.containment.reparented();
  scene.known_processes = known_pids();
  scene.known_processes.insert(scene.guardian_pid);
  scene.expected_files.insert(images_.begin(), images_.end());
  std::vector<std::string> prefixes;
  for (const TargetInstance& instance : targets_) {
    if (instance.lost) continue;
    probes::Subject subject{instance.name, instance.process_id, instance.target->pid(), {}};
    // Behind a wrapper the target is a child of it; the wrapper is not under test.
    scene.subjects.push_back(subject);
    for (const std::string& socket : instance.target->sockets()) scene.expected_files.insert(socket);
  }
  for (const DaemonInstance& instance : daemons_) {
    scene.expected_files.insert(instance.daemon.directory);
    if (!instance.lost)
      scene.subjects.push_back({instance.daemon.name, instance.process_id, instance.daemon.child->pid(), {}});
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

bool Lineage::can_raise_early() const {
  return std::all_of(targets_.begin(), targets_.end(),
                     [](const TargetInstance& p) { return !p.place.slot.empty() || p.target->has_spare_slots(); });
}

std::vector<std::string> Lineage::disks_to_settle() const {
  std::vector<std::string> addresses;
  for (const hypervisor::DeviceSpec& device : devices_) {
    bool settled = hypervisor::endpoint_of(device.type).has_value();
    if (const DeviceScenario* cold = context_.scenario.find_device(device.id)) settled = !cold->io_through;
    if (settled && hypervisor::is_disk_type(device.type))
      addresses.push_back(hypervisor::pci_address(devices_, device));
  }
  return addresses;
}

std::string Lineage::device_of_disk(const std::string& pci_address, const std::string& serial) const {
  for (const hypervisor::DeviceSpec& device : devices_) {
    if (device.id == serial) return device.id;
  }
  for (const hypervisor::DeviceSpec& device : devices_) {
    if (pci_address == hypervisor::pci_address(devices_, device)) return device.id;
  }
  return base::printable(pci_address, 40);
}

}  // namespace migsoak::engine
