#include "engine/target_spec.h"

#include <fmt/format.h>

#include "hypervisor/device_type.h"
#include "plan/device_plan.h"

namespace migsoak::engine {

std::string target_process_name(const TargetScenario& target, const std::string& side) {
  return "target:" + target.name + (side.empty() ? "" : "@" + side);
}

namespace {

// Source, destination, and the next destination when it is raised early.
std::vector<std::string> slots_of(const Scenario& scenario) {
  std::vector<std::string> slots = {"0", "1"};
  if (scenario.raise_early) slots.emplace_back("2");
  return slots;
}

}  // namespace

std::vector<TargetPlace> target_places(const Scenario& scenario, const TargetScenario& target) {
  if (target.share == TargetShare::one) return {{"", ""}};
  std::vector<TargetPlace> places;
  for (const SideScenario& side : scenario.sides) {
    if (target.share == TargetShare::per_side) {
      places.push_back({side.name, ""});
      continue;
    }
    for (const std::string& slot : slots_of(scenario)) places.push_back({side.name, slot});
  }
  return places;
}

target::TargetSpec target_spec(const Scenario& scenario, const TargetScenario& target, const TargetPlace& serves,
                               const std::string& run_dir) {
  target::TargetSpec spec;
  static_cast<target::TargetSettings&>(spec) = static_cast<const target::TargetSettings&>(target);
  spec.process = target_process_name(target, serves.side);
  const auto add_device = [&](const std::string& id, const std::string& type, int queues) {
    const target::EndpointType endpoint = *hypervisor::endpoint_of(type);
    spec.devices.push_back({id, hypervisor::needs_image(type) ? image_path(run_dir, id) : "", queues, endpoint});
  };
  for (const DeviceScenario& device : scenario.devices) {
    if (device.target != target.name) continue;
    add_device(device.id, device.type, device.queues());
  }
  for (const hypervisor::DeviceSpec& device : pluggable_devices_on(scenario, target.name)) {
    add_device(device.id, device.type, 1);
  }
  spec.env["MIGSOAK_PROCESS"] = spec.process;
  spec.slots = serves.slot.empty() ? slots_of(scenario) : std::vector<std::string>{serves.slot};
  // One VM after the other has that slot.
  spec.log_append = !serves.slot.empty();
  spec.run_dir = run_dir;
  return spec;
}

const TargetScenario* target_of(const Scenario& scenario, const hypervisor::DeviceSpec& device) {
  if (const DeviceScenario* cold = scenario.find_device(device.id)) return scenario.find_target(cold->target);
  return hypervisor::endpoint_of(device.type) ? scenario.find_target(scenario.hotplug.target) : nullptr;
}

std::string image_path(const std::string& run_dir, const std::string& device_id) {
  return fmt::format("{}/{}.img", run_dir, device_id);
}

}  // namespace migsoak::engine
