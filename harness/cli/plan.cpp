#include <fmt/format.h>

#include <memory>

#include "base/text.h"
#include "cli/commands.h"
#include "hypervisor/device_type.h"
#include "plan/load.h"
#include "plan/planner.h"
#include "scenario/scenario.h"

namespace migsoak::cli {

namespace {

// "plug virtio-blk vb0 at pci 0x5, settled"
std::string words_of(const record::PlannedOperation& operation) {
  std::string place = operation.bus;
  const hypervisor::DeviceType* type = hypervisor::find_device_type(operation.kind);
  // The root bus of pc goes without saying, and so do the slots and sockets of what is on no bus.
  if (place.empty()) place = type != nullptr && type->attachment == hypervisor::Attachment::pci ? "pci" : "slot";
  if (!operation.address.empty()) place += " " + operation.address;
  return fmt::format("{} {} {} at {}, {}", operation.action, operation.kind, operation.device, place, operation.timing);
}

// "libvirt, managed client; flags auto-converge, parallel; 4 connections; 50 MiB/s"
std::string words_of(const record::LibvirtWay& way) {
  std::string words = "libvirt, managed " + way.managed;
  if (!way.flags.empty()) words += "; flags " + base::join(way.flags, ", ");
  if (way.parallel_connections > 0) words += fmt::format("; {} connections", way.parallel_connections);
  if (way.bandwidth_mib > 0) words += fmt::format("; {} MiB/s", way.bandwidth_mib);
  return words;
}

// What comes before, during and after the migration, in that order.
void print_steps(const record::Plan& plan) {
  if (plan.libvirt) print("  " + words_of(*plan.libvirt));
  if (!plan.upgrade_failure.empty()) print("  first attempted and made to fail: " + plan.upgrade_failure);
  for (const record::PlannedOperation& operation : plan.operations) print("  " + words_of(operation));
  for (const record::PlannedRestart& restart : plan.restarts) {
    const std::string what = restart.daemon.empty() ? "target " + restart.target : restart.subject();
    print(fmt::format("  restart of {} ({}), {}; expected: {}", what, restart.how, restart.timing, restart.expect));
  }
  if (plan.expect != record::kExpectCompletes) print("  declared to be " + plan.expect);
}

}  // namespace

void add_plan(CLI::App& app, Session& session) {
  struct Arguments {
    std::string scenario;
    std::int64_t iteration = 0;
    std::optional<std::uint64_t> seed;
    std::vector<std::string> sets;
    bool json = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("plan", "Print the plan of one iteration: it depends on scenario, seed and N alone");
  command->add_option("scenario", arguments->scenario, "Scenario file (.toml)")->required();
  command->add_option("--iteration", arguments->iteration, "N, counted from 0")
      ->required()
      ->check(CLI::NonNegativeNumber);
  command->add_option("--seed", arguments->seed, "Seed, instead of the scenario's");
  command->add_option("--set", arguments->sets, "PATH=VALUE, as for run")->allow_extra_args(false);
  command->add_flag("--json", arguments->json, "One JSON object");
  command->callback([arguments, &session] {
    std::vector<std::string> sets = arguments->sets;
    if (arguments->seed) sets.push_back(fmt::format("seed={}", *arguments->seed));
    const auto scenario = plan::load_scenario(arguments->scenario, sets);
    if (!scenario) {
      session.exit_status = complain(scenario.error());
      return;
    }
    const record::Plan plan = plan::plan_iteration(*scenario, arguments->iteration);
    if (arguments->json) {
      base::Json json = record::to_json(plan);
      json["scenario"] = scenario->name;
      json["seed"] = scenario->seed;
      print(json.dump(2));
    } else {
      print(fmt::format("{} seed {} iteration {}: {} over {}, side {} to side {}, machine {}", scenario->name,
                        scenario->seed, plan.iteration, plan.mode, plan.transport, plan.source_side,
                        plan.destination_side, plan.machine));
      print_steps(plan);
    }
  });
}

}  // namespace migsoak::cli
