#include "engine/command_line_check.h"

#include <fmt/format.h>

#include "engine/target_spec.h"
#include "hypervisor/driver.h"
#include "hypervisor/machine_spec.h"
#include "ops/hotplug/hotplug.h"
#include "plan/device_plan.h"
#include "target/target.h"

namespace migsoak::engine {

using base::Result;

namespace {

Result<void> check_side(const Scenario& scenario, const SideScenario& side, const std::string& machine,
                        const std::string& run_dir) {
  hypervisor::MachineSpec spec;
  spec.side = side.name;
  spec.qemu = side.qemu;
  spec.machine = machine;
  spec.memory_bytes = scenario.guest.memory_bytes;
  spec.cpus = scenario.guest.cpus;
  spec.run_dir = run_dir;
  spec.instance = fmt::format("q{}", scenario.iterations + 1);
  MIGSOAK_ASSIGN(hypervisor::DeviceSet devices, boot_devices(scenario, machine));
  // Every kind that the run may plug, one of each: an unknown property is told before anything runs.
  for (const ops::HotplugKind& kind : ops::hotplug_kinds()) {
    if (!scenario.hotplug.uses(kind.name)) continue;
    const std::string address = kind.bus.empty() && kind.first_address == 0 ? "" : "0x1e";
    devices.push_back({kind.prefix + "-check", kind.name, "", "", {}, kind.bus, address});
  }
  for (hypervisor::DeviceSpec device : devices) {
    device.props = properties_of(scenario, device, side.name);
    device.socket_path = run_dir + "/s";
    device.image_path = run_dir + "/i";
    spec.devices.push_back(std::move(device));
  }
  return hypervisor::find_driver_kind(side.driver)->check(spec);
}

}  // namespace

Result<void> check_command_lines(const Scenario& scenario, const std::string& run_dir, int lanes) {
  const std::string deepest = lanes > 1 ? fmt::format("{}/{}", run_dir, lanes - 1) : run_dir;
  for (const std::string& machine : scenario.guest.machines) {
    for (const SideScenario& side : scenario.sides) {
      MIGSOAK_TRY(check_side(scenario, side, machine, deepest), fmt::format("{}: side.{}", scenario.file, side.name));
    }
  }
  for (const TargetScenario& target : scenario.targets) {
    for (const TargetPlace& place : target_places(scenario, target)) {
      MIGSOAK_TRY(target::check_target(target_spec(scenario, target, place, deepest)), scenario.file);
    }
  }
  return {};
}

}  // namespace migsoak::engine
