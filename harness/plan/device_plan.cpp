#include "plan/device_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "hypervisor/device_type.h"
#include "ops/hotplug/hotplug.h"

namespace migsoak::plan {

using base::Result;
using hypervisor::DeviceSet;
using hypervisor::DeviceSpec;
using ops::HotplugKind;
using record::PlannedOperation;
using scenario::DeviceScenario;
using scenario::HotplugStep;
using scenario::Scenario;

namespace {

bool on_pci(const std::string& kind) {
  return hypervisor::is_attached_to(hypervisor::Attachment::pci, kind);
}

DeviceSpec bare_device(const std::string& id, const std::string& type) {
  DeviceSpec device;
  device.id = id;
  device.type = type;
  return device;
}

// A device of this kind in a place, "bus/address".
DeviceSpec device_at(const std::string& kind, const std::string& place) {
  DeviceSpec device = bare_device("", kind);
  device.bus = place.substr(0, place.find('/'));
  device.address = place.substr(place.find('/') + 1);
  return device;
}

template <typename Items>
const std::string& pick(const Items& items, base::Rng& rng) {
  return items[rng.below(items.size())];
}

}  // namespace

std::string draw_weighted(const std::vector<std::pair<std::string, std::uint64_t>>& weights, base::Rng& rng) {
  std::uint64_t total = 0;
  for (const auto& [name, weight] : weights) total += weight;
  if (total == 0) return "";
  std::uint64_t draw = rng.below(total);
  for (const auto& [name, weight] : weights) {
    if (draw < weight) return name;
    draw -= weight;
  }
  return "";
}

bool is_pcie(const std::string& machine) {
  return machine.starts_with("q35") || machine.find("-q35-") != std::string::npos;
}

Result<DeviceSet> boot_devices(const Scenario& scenario, const std::string& machine) {
  DeviceSet devices;
  for (const DeviceScenario& device : scenario.devices) devices.push_back(bare_device(device.id, device.type));
  bool pci_kinds = false;
  for (const HotplugKind& kind : ops::hotplug_kinds()) {
    if (!scenario.hotplug.uses(kind.name)) continue;
    pci_kinds = pci_kinds || on_pci(kind.name);
    if (!kind.controller.empty()) devices.push_back(bare_device(kind.controller, kind.controller_type));
  }
  for (int port = 0; pci_kinds && is_pcie(machine) && port < scenario.hotplug.ports; ++port) {
    devices.push_back(bare_device(fmt::format("rp{}", port), "root-port"));
  }
  MIGSOAK_TRY(hypervisor::pin_addresses(devices), scenario.file);
  return devices;
}

DeviceSpec device_of(const PlannedOperation& operation) {
  DeviceSpec device = bare_device(operation.device, operation.kind);
  device.bus = operation.bus;
  device.address = operation.address;
  return device;
}

void apply_operation(const PlannedOperation& operation, DeviceSet& devices) {
  if (operation.timing == "refused") return;
  if (operation.action == "plug") {
    devices.push_back(device_of(operation));
  } else {
    std::erase_if(devices, [&operation](const DeviceSpec& device) { return device.id == operation.device; });
  }
}

std::map<std::string, base::Json> properties_of(const Scenario& scenario, const DeviceSpec& device,
                                                const std::string& side) {
  std::map<std::string, base::Json> props;
  const auto add = [&props](const std::map<std::string, base::Json>& more) {
    for (const auto& [key, value] : more) props[key] = value;
  };
  if (const DeviceScenario* cold = scenario.find_device(device.id)) {
    add(cold->props);
    if (const auto on = cold->on.find(side); on != cold->on.end()) add(on->second);
    return props;
  }
  if (const auto own = scenario.hotplug.props.find(device.type); own != scenario.hotplug.props.end()) add(own->second);
  const auto on = scenario.hotplug.on.find(side);
  if (on == scenario.hotplug.on.end()) return props;
  if (const auto own = on->second.find(device.type); own != on->second.end()) add(own->second);
  return props;
}

namespace {

// Every device that the run may plug, of the kinds that `wanted` picks.
std::vector<DeviceSpec> pluggable_devices(const Scenario& scenario, bool (*wanted)(const std::string& type)) {
  std::vector<DeviceSpec> devices;
  for (const HotplugKind& kind : ops::hotplug_kinds()) {
    if (!wanted(kind.name) || !scenario.hotplug.uses(kind.name)) continue;
    const int most = std::max(kind.count_max, scenario.hotplug.sweep);
    for (int i = 0; i < most; ++i) devices.push_back(bare_device(fmt::format("{}{}", kind.prefix, i), kind.name));
    for (const HotplugStep& step : scenario.hotplug.steps) {
      const bool known =
          std::any_of(devices.begin(), devices.end(), [&](const auto& d) { return d.id == step.device; });
      if (step.kind == kind.name && !step.device.empty() && !known)
        devices.push_back(bare_device(step.device, kind.name));
    }
  }
  return devices;
}

}  // namespace

std::vector<DeviceSpec> pluggable_disks(const Scenario& scenario) {
  return pluggable_devices(scenario, hypervisor::needs_image);
}

std::vector<DeviceSpec> pluggable_devices_on(const Scenario& scenario, const std::string& target) {
  if (scenario.hotplug.target != target) return {};
  return pluggable_devices(scenario, [](const std::string& type) { return hypervisor::endpoint_of(type).has_value(); });
}

OperationPlanner::OperationPlanner(const Scenario& scenario, const std::string& machine)
    : scenario_(scenario), pcie_(is_pcie(machine)), devices_(boot_devices(scenario, machine).value_or(DeviceSet{})) {}

// By a step: others leave it alone.
bool OperationPlanner::is_named(const std::string& id) const {
  const std::vector<HotplugStep>& steps = scenario_.hotplug.steps;
  return std::any_of(steps.begin(), steps.end(), [&id](const HotplugStep& step) { return step.device == id; });
}

bool OperationPlanner::is_touched(const std::string& id) const {
  return std::any_of(operations_.begin(), operations_.end(), [&id](const auto& o) { return o.device == id; });
}

std::vector<std::string> OperationPlanner::removable() const {
  std::vector<std::string> ids;
  for (const DeviceSpec& device : devices_) {
    const bool cold = scenario_.find_device(device.id) != nullptr;
    const std::vector<std::string>& keep = scenario_.hotplug.keep;
    const bool kept = std::find(keep.begin(), keep.end(), device.type) != keep.end();
    if (!cold && !kept && !is_named(device.id) && ops::find_hotplug_kind(device.type) != nullptr) {
      ids.push_back(device.id);
    }
  }
  return ids;
}

// CPUs come and go at the end of their row, as libvirt has it: a guest with a gap in it does not always boot.
bool OperationPlanner::has_later_sibling(const std::string& id) const {
  const auto own = std::find_if(devices_.begin(), devices_.end(), [&id](const auto& d) { return d.id == id; });
  return own != devices_.end() && own->type == "cpu" &&
         std::any_of(devices_.begin(), devices_.end(), [&own](const DeviceSpec& other) {
           return other.type == "cpu" && hypervisor::number_of(other.address) > hypervisor::number_of(own->address);
         });
}

int OperationPlanner::plugged() const {
  return static_cast<int>(removable().size());
}

std::vector<std::string> OperationPlanner::free_ids(const std::string& name) const {
  const HotplugKind* kind = ops::find_hotplug_kind(name);
  const auto of_kind = std::count_if(devices_.begin(), devices_.end(), [&](const auto& d) { return d.type == name; });
  const int most = std::max(kind->count_max, scenario_.hotplug.sweep);
  std::vector<std::string> ids;
  if (of_kind >= most) return ids;
  for (int i = 0; i < most; ++i) {
    std::string id = fmt::format("{}{}", kind->prefix, i);
    const bool taken = std::any_of(devices_.begin(), devices_.end(), [&id](const auto& d) { return d.id == id; });
    if (!taken && !is_touched(id) && !is_named(id)) ids.push_back(std::move(id));
  }
  return ids;
}

// "bus/address" of every place that a device of this kind could have.
std::vector<std::string> OperationPlanner::places_of(const std::string& name) const {
  const HotplugKind* kind = ops::find_hotplug_kind(name);
  std::vector<std::string> places;
  if (!on_pci(name)) {
    for (int i = 0; i < kind->count_max; ++i)
      places.push_back(fmt::format("{}/{:#x}", kind->bus, kind->first_address + i));
  } else if (pcie_) {
    for (int port = 0; port < scenario_.hotplug.ports; ++port) places.push_back(fmt::format("rp{}/0x0", port));
  } else {
    for (int slot = hypervisor::kFirstSlot; slot <= hypervisor::kLastSlot; ++slot) {
      places.push_back("/" + hypervisor::slot_name(slot));
    }
  }
  return places;
}

// The device in a place of this kind; empty when it is free.
std::string OperationPlanner::occupant(const std::string& name, const std::string& place) const {
  const std::string wanted = hypervisor::place_of(device_at(name, place));
  const auto device = std::find_if(devices_.begin(), devices_.end(),
                                   [&wanted](const DeviceSpec& it) { return hypervisor::place_of(it) == wanted; });
  return device == devices_.end() ? "" : device->id;
}

std::vector<std::string> OperationPlanner::free_addresses(const std::string& name, bool unnamed_only) const {
  const bool pci = on_pci(name);
  const auto unfit = [&](const std::string& place) {
    // A place that an operation of this iteration frees or takes is left alone until the next.
    const std::string wanted = hypervisor::place_of(device_at(name, place));
    const bool touched = std::any_of(operations_.begin(), operations_.end(), [&](const PlannedOperation& other) {
      return hypervisor::place_of(device_of(other)) == wanted;
    });
    // What a step names by address is no place for another device.
    const bool reserved =
        unnamed_only &&
        std::any_of(scenario_.hotplug.steps.begin(), scenario_.hotplug.steps.end(), [&](const HotplugStep& step) {
          return step.action == "plug" && names_place(step.address, place) && on_pci(step.kind) == pci &&
                 (pci || step.kind == name);
        });
    return touched || reserved || !occupant(name, place).empty();
  };
  std::vector<std::string> places = places_of(name);
  std::erase_if(places, unfit);
  if (unnamed_only && name == "cpu") {
    // In a row: a socket that is left alone in this iteration is not skipped.
    const auto count = std::count_if(devices_.begin(), devices_.end(), [](const auto& d) { return d.type == "cpu"; });
    const std::string next = fmt::format("/{:#x}", ops::find_hotplug_kind(name)->first_address + count);
    std::erase_if(places, [&next](const std::string& place) { return place != next; });
  }
  return places;
}

bool OperationPlanner::find_place(const std::string& kind, base::Rng& rng, PlannedOperation& into) {
  const std::vector<std::string> places = free_addresses(kind, /*unnamed_only=*/true);
  if (places.empty()) return false;
  // A device that comes back takes its old place half of the time, where that is free.
  const auto last = last_address_.find(into.device);
  const bool back = last != last_address_.end() && rng.below(2) == 0 &&
                    std::find(places.begin(), places.end(), last->second) != places.end();
  // A sweep goes on from slot to slot, as an administrator does; CPUs come in a row.
  const bool in_order = scenario_.hotplug.sweep > 0 || kind == "cpu";
  const std::string place = in_order ? places.front() : back ? last->second : pick(places, rng);
  into.bus = place.substr(0, place.find('/'));
  into.address = place.substr(place.find('/') + 1);
  return true;
}

bool OperationPlanner::draw_plug(base::Rng& rng, PlannedOperation& into) {
  if (plugged() >= scenario_.hotplug.plugged_max) return false;
  auto kinds = scenario_.hotplug.kinds;
  for (auto& [name, weight] : kinds) {
    if (free_ids(name).empty() || free_addresses(name, /*unnamed_only=*/true).empty()) weight = 0;
  }
  into.kind = draw_weighted(kinds, rng);
  if (into.kind.empty()) return false;
  into.action = "plug";
  const std::vector<std::string> ids = free_ids(into.kind);
  into.device = scenario_.hotplug.sweep > 0 ? ids.front() : pick(ids, rng);
  return find_place(into.kind, rng, into);
}

bool OperationPlanner::draw_unplug(base::Rng& rng, PlannedOperation& into) {
  std::vector<std::string> ids = removable();
  std::erase_if(ids, [this](const std::string& id) { return is_touched(id) || has_later_sibling(id); });
  if (ids.empty()) return false;
  into.device = pick(ids, rng);
  const auto device =
      std::find_if(devices_.begin(), devices_.end(), [&](const auto& d) { return d.id == into.device; });
  into.action = "unplug";
  into.kind = device->type;
  into.bus = device->bus;
  into.address = device->address;
  if (into.timing == "at-once" && !ops::find_hotplug_kind(into.kind)->unplug_settles.empty()) into.timing = "settled";
  return true;
}

void OperationPlanner::take(PlannedOperation operation) {
  if (operation.action == "plug" && operation.timing != "refused") {
    last_address_[operation.device] = operation.bus + "/" + operation.address;
  }
  apply_operation(operation, devices_);
  operations_.push_back(std::move(operation));
}

std::vector<PlannedOperation> OperationPlanner::next(std::int64_t iteration, bool on_first_side, base::Rng& rng) {
  operations_.clear();
  undone_.clear();
  take_steps(iteration, rng);
  if (on_first_side && swept_ < scenario_.hotplug.sweep) {
    PlannedOperation operation;
    operation.timing = "settled";
    if (draw_plug(rng, operation)) {
      ++swept_;
      take(std::move(operation));
    }
  }
  for (int i = 0; i < scenario_.hotplug.operations; ++i) {
    PlannedOperation operation;
    operation.timing = draw_weighted(scenario_.hotplug.timings, rng);
    // The fuller the guest, the likelier something goes.
    const auto most = static_cast<std::uint64_t>(scenario_.hotplug.plugged_max);
    const bool unplug = rng.below(most) < static_cast<std::uint64_t>(plugged());
    const bool may_plug = on_first_side || !scenario_.hotplug.plug_on_first;
    const bool drawn = unplug || !may_plug ? draw_unplug(rng, operation) || (may_plug && draw_plug(rng, operation))
                                           : draw_plug(rng, operation) || draw_unplug(rng, operation);
    if (drawn) take(std::move(operation));
  }
  return operations_;
}

}  // namespace migsoak::plan
