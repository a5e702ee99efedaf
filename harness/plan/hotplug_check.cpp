#include "plan/hotplug_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "hypervisor/device_type.h"
#include "ops/hotplug/hotplug.h"
#include "plan/device_plan.h"
#include "plan/planner.h"

namespace migsoak::plan {

using base::ErrorKind;
using base::Result;
using scenario::HotplugScenario;
using scenario::HotplugStep;
using scenario::Scenario;

namespace {

// Steps come early in a lineage; a scenario with drawn operations is planned no further than this.
constexpr std::int64_t kPlannedMax = 10'000;

std::string hotplug_place(const toml::table& root, const Scenario& scenario, const char* key) {
  const toml::node* node = root["hotplug"][key].node();
  if (node == nullptr) node = root["hotplug"].node();
  const auto line = node == nullptr ? 0 : node->source().begin.line;
  // Nodes that --set made have no line.
  return line != 0 ? fmt::format("{}:{}: hotplug.{}: ", scenario.file, line, key)
                   : fmt::format("{}: hotplug.{}: ", scenario.file, key);
}

std::string step_place(const toml::table& root, const Scenario& scenario, std::size_t index) {
  const toml::node* node = root["hotplug"]["step"][index].node();
  const auto line = node == nullptr ? 0 : node->source().begin.line;
  return line != 0 ? fmt::format("{}:{}: hotplug.step: ", scenario.file, line)
                   : fmt::format("{}: hotplug.step: ", scenario.file);
}

Result<void> check_property_kinds(const toml::table& root, const Scenario& scenario) {
  const auto check = [&](const std::string& kind, const char* key) -> Result<void> {
    const std::vector<std::string> known = hypervisor::device_type_names();
    if (std::find(known.begin(), known.end(), kind) != known.end()) return {};
    const std::string near = base::nearest_name(kind, known);
    return base::fail(ErrorKind::bad_input,
                      hotplug_place(root, scenario, key) +
                          fmt::format("there is no kind of device named '{}'{}", base::printable(kind, 40),
                                      near.empty() ? "; known: " + base::join(known, ", ")
                                                   : fmt::format("; did you mean '{}'?", near)));
  };
  for (const auto& [kind, props] : scenario.hotplug.props) MIGSOAK_TRY(check(kind, "props"));
  for (const auto& [side, kinds] : scenario.hotplug.on) {
    for (const auto& [kind, props] : kinds) MIGSOAK_TRY(check(kind, "on"));
  }
  return {};
}

// The controllers and root ports that the kinds need, beside the scenario's own devices.
Result<void> check_room(const toml::table& root, const Scenario& scenario, const std::string& machine) {
  if (boot_devices(scenario, machine)) return {};
  const int slots = hypervisor::kLastSlot - hypervisor::kFirstSlot + 1;
  const std::string ports =
      is_pcie(machine) ? fmt::format(", {} root ports (hotplug.ports)", scenario.hotplug.ports) : std::string();
  return base::fail(ErrorKind::bad_input,
                    hotplug_place(root, scenario, "ports") +
                        fmt::format("more than {} devices on the root bus of {}: {} of [[device]]{} and the "
                                    "controllers that the kinds need",
                                    slots, base::printable(machine, 80), scenario.devices.size(), ports));
}

Result<void> check_sweep(const toml::table& root, const Scenario& scenario, const std::string& machine) {
  if (scenario.hotplug.sweep == 0) return {};
  Scenario alone = scenario;
  alone.hotplug.operations = 0;
  alone.hotplug.steps.clear();
  OperationPlanner planner(alone, machine);
  base::Rng rng = base::Rng::for_iteration(scenario.seed, 0);
  int planned = 0;
  for (int i = 0; i < scenario.hotplug.sweep; ++i) {
    planned += static_cast<int>(planner.next(i, /*on_first_side=*/true, rng).size());
  }
  if (planned == scenario.hotplug.sweep) return {};
  const HotplugScenario& hotplug = scenario.hotplug;
  const std::string limit = hotplug.plugged_max < hotplug.sweep
                                ? fmt::format("hotplug.plugged_max is {}", hotplug.plugged_max)
                            : is_pcie(machine) && hotplug.ports < hotplug.sweep
                                ? fmt::format("hotplug.ports is {}", hotplug.ports)
                                : "its bus is full then, or the guest may have no more of these kinds";
  return base::fail(ErrorKind::bad_input,
                    hotplug_place(root, scenario, "sweep") + fmt::format("of {} devices {} only have room on {}: {}",
                                                                         scenario.hotplug.sweep, planned,
                                                                         base::printable(machine, 80), limit));
}

// What device_add of a step's device would be made of: a wrong id is told here.
Result<void> check_step_ids(const toml::table& root, const Scenario& scenario) {
  for (std::size_t i = 0; i < scenario.hotplug.steps.size(); ++i) {
    const HotplugStep& step = scenario.hotplug.steps[i];
    if (scenario.lineage_iterations > 0 && step.iteration >= scenario.lineage_iterations) {
      return base::fail(ErrorKind::bad_input,
                        step_place(root, scenario, i) + fmt::format("iteration {} never comes: a lineage has {} "
                                                                    "(run.lineage), counted from 0",
                                                                    step.iteration, scenario.lineage_iterations));
    }
    if (step.device.empty()) continue;
    hypervisor::DeviceSpec device;
    device.id = step.device;
    device.type = step.kind;
    device.address = "0x0";
    device.socket_path = device.image_path = "none";
    if (const auto parts = hypervisor::device_parts(device); !parts) {
      return base::fail(ErrorKind::bad_input, step_place(root, scenario, i) + parts.error().message);
    }
  }
  return {};
}

Result<void> check_steps(const toml::table& root, const Scenario& scenario) {
  std::int64_t last = -1;
  for (const HotplugStep& step : scenario.hotplug.steps) last = std::max(last, step.iteration);
  if (last < 0) return {};
  // Each lineage draws anew; where there is but one, each machine type has its own all the same (the list needs
  // run.lineage).
  const std::int64_t length = scenario.lineage_iterations;
  const auto machines = static_cast<std::int64_t>(scenario.guest.machines.size());
  const std::int64_t lineages =
      length > 0 ? std::max(machines, (scenario.iterations + length - 1) / length) : std::int64_t{1};
  Planner planner(scenario);
  std::int64_t planned = 0;
  for (std::int64_t lineage = 0; lineage < lineages && planned < kPlannedMax; ++lineage) {
    for (std::int64_t i = 0; i <= last && planned < kPlannedMax; ++i, ++planned) {
      const record::Plan plan = planner.plan(lineage * length + i);
      if (planner.undone_steps().empty()) continue;
      const UndoneStep& undone = planner.undone_steps().front();
      const HotplugStep& step = scenario.hotplug.steps[undone.step];
      return base::fail(ErrorKind::bad_input,
                        step_place(root, scenario, undone.step) +
                            fmt::format("{} of a {} in iteration {} of a lineage on {} can't be done: {}", step.action,
                                        step.kind, step.iteration, base::printable(plan.machine, 80), undone.why));
    }
  }
  return {};
}

}  // namespace

Result<void> check_hotplug_plan(const toml::table& root, const Scenario& scenario) {
  for (const hypervisor::DeviceSpec& disk : pluggable_disks(scenario)) {
    if (scenario.find_device(disk.id) == nullptr) continue;
    return base::fail(ErrorKind::bad_input,
                      hotplug_place(root, scenario, "kinds") +
                          fmt::format("disks are plugged with ids like '{}': give the [[device]] another", disk.id));
  }
  MIGSOAK_TRY(check_property_kinds(root, scenario));
  if (!scenario.hotplug.used()) return {};
  MIGSOAK_TRY(check_step_ids(root, scenario));
  for (const std::string& machine : scenario.guest.machines) {
    MIGSOAK_TRY(check_room(root, scenario, machine));
    MIGSOAK_TRY(check_sweep(root, scenario, machine));
  }
  return check_steps(root, scenario);
}

}  // namespace migsoak::plan
