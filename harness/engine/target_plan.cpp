#include "engine/target_plan.h"

#include <fmt/format.h>

#include "engine/device_plan.h"

namespace migsoak::engine {

std::string target_process_name(const TargetScenario& target, const std::string& side) {
  return "target:" + target.name + (side.empty() ? "" : "@" + side);
}

std::vector<std::string> target_sides(const Scenario& scenario, const TargetScenario& target) {
  if (target.share == TargetShare::one) return {""};
  std::vector<std::string> sides;
  for (const SideScenario& side : scenario.sides) sides.push_back(side.name);
  return sides;
}

target::TargetSpec target_spec(const Scenario& scenario, const TargetScenario& target, const std::string& side,
                               const std::string& run_dir) {
  target::TargetSpec spec;
  spec.name = target.name;
  spec.process = target_process_name(target, side);
  spec.kind = target.kind;
  spec.argv = target.argv;
  spec.executable = target.executable;
  spec.aio = target.aio;
  spec.workers = target.workers;
  for (const DeviceScenario& device : scenario.devices) {
    if (device.target != target.name) continue;
    spec.disks.push_back({device.id, image_path(run_dir, device.id), device.queues()});
  }
  for (const hypervisor::DeviceSpec& disk : pluggable_disks_on(scenario, target.name)) {
    spec.disks.push_back({disk.id, image_path(run_dir, disk.id), 1});
  }
  spec.nofile = static_cast<std::uint64_t>(target.nofile);
  spec.env = target.env;
  spec.env["MIGSOAK_PROCESS"] = spec.process;
  spec.wrapper = target.wrapper;
  // Source, destination, and the next destination when it is raised early.
  spec.slots = {"0", "1"};
  if (scenario.raise_early) spec.slots.emplace_back("2");
  spec.run_dir = run_dir;
  return spec;
}

std::string image_path(const std::string& run_dir, const std::string& device_id) {
  return fmt::format("{}/{}.img", run_dir, device_id);
}

}  // namespace migsoak::engine
