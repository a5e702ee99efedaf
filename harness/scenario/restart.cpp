// [[restart]] of a scenario.
#include <fmt/format.h>

#include <algorithm>

#include "ops/modes/mode.h"
#include "scenario/table_reader.h"
#include "target/target_kind.h"

namespace migsoak::scenario {

using base::Result;

namespace {

Result<void> check_connections(const TableReader& in, const Scenario& scenario, const std::string& target) {
  for (const DeviceScenario& device : scenario.devices) {
    if (device.target != target || device.reconnect_ms > 0) continue;
    return in.error("target", fmt::format("device '{}' does not reconnect to it: a restart would take its disk away "
                                          "for good; give it reconnect_ms = 100",
                                          base::printable(device.id)));
  }
  const std::vector<std::string> served = plugged_vhost_user_types(scenario);
  if (scenario.hotplug.target != target || served.empty() || reconnect_ms_of_plugged(scenario) > 0) return {};
  return in.error("target",
                  fmt::format("a plugged {} reconnects as often as a [[device]] of the same target, and there "
                              "is none",
                              base::join(served, ", ")));
}

Result<void> check_expectation(const TableReader& in, const TargetScenario& target, const RestartScenario& restart) {
  const target::RestartPolicy& policy = target::find_target_kind(target.kind)->restart;
  if (!policy.impossible.empty()) return in.error("target", policy.impossible);
  if (!policy.fails_requests_when_asked) return {};
  const bool graceful = std::find(restart.how.begin(), restart.how.end(), "graceful") != restart.how.end();
  const bool said = in.table().contains("expect");
  if (graceful && !said) {
    return in.error("expect",
                    fmt::format("needed: a {} that is stopped gracefully under load may answer requests in flight with "
                                "errors; say expect = \"io-errors\" or expect = \"recovers\"",
                                target.kind));
  }
  if (!graceful && restart.expect == "io-errors") {
    return in.error("expect", fmt::format("a {} that is killed answers nothing: everything must recover", target.kind));
  }
  return {};
}

// Whose restart it is.
Result<void> read_subject(const TableReader& in, const Scenario& scenario, RestartScenario& restart) {
  const bool of_target = in.table().contains("target"), of_daemon = in.table().contains("daemon");
  if (of_target && of_daemon) return in.error("daemon", "a restart is of a target or of a daemon, not of both");
  std::vector<std::string> names;
  if (of_daemon) {
    for (const SideScenario& side : scenario.sides) names.push_back(side.name);
    return in.read_choice("daemon", restart.daemon, names);
  }
  if (!of_target) {
    return in.error("target", "needed: the name of a [[target]]; or daemon, the name of a [[side]] with a libvirtd");
  }
  for (const TargetScenario& target : scenario.targets) names.push_back(target.name);
  return in.read_choice("target", restart.target, names);
}

Result<void> check_daemon(const TableReader& in, const Scenario& scenario, const RestartScenario& restart) {
  const std::string& driver = scenario.side(restart.daemon).driver;
  if (driver != "libvirt") {
    return in.error("daemon", fmt::format("driver \"{}\" of side {} has no libvirtd", driver, restart.daemon));
  }
  for (const std::string& timing : restart.timings) {
    if (timing == "between") continue;
    return in.error("timing", fmt::format("'{}' needs a target: a daemon is restarted between migrations", timing));
  }
  if (restart.expect != "recovers") return in.error("expect", "a libvirtd answers no requests of the guest's disks");
  return {};
}

}  // namespace

Result<void> read_restart(const TableReader& in, Scenario& scenario) {
  RestartScenario restart;
  MIGSOAK_TRY(read_subject(in, scenario, restart));
  in.read_list("how", restart.how);
  for (const std::string& how : restart.how) MIGSOAK_TRY(in.check_choice("how", how, {"kill", "graceful"}));
  if (restart.how.empty()) return in.error("how", "needs at least one of kill, graceful");
  in.read_list("timing", restart.timings);
  for (const std::string& timing : restart.timings) {
    MIGSOAK_TRY(in.check_choice("timing", timing, {"between", "before", "during", "after"}));
  }
  if (restart.timings.empty()) return in.error("timing", "needs at least one of between, before, during, after");
  MIGSOAK_TRY(in.read_integer("every", restart.every, 1, 100'000'000));
  MIGSOAK_TRY(in.read_choice("expect", restart.expect, {"recovers", "io-errors"}));
  if (!restart.daemon.empty()) {
    MIGSOAK_TRY(check_daemon(in, scenario, restart));
    scenario.restarts.push_back(std::move(restart));
    return {};
  }
  MIGSOAK_TRY(check_connections(in, scenario, restart.target));
  MIGSOAK_TRY(check_expectation(in, *scenario.find_target(restart.target), restart));
  const auto goes_on = [](const auto& mode) { return ops::runs_beside(mode.first); };
  if (restart.timings == std::vector<std::string>{"during"} &&
      std::none_of(scenario.modes.begin(), scenario.modes.end(), goes_on)) {
    return in.error("timing", "none of migration.mode has a while in which the guest still runs on its source");
  }
  scenario.restarts.push_back(std::move(restart));
  return {};
}

}  // namespace migsoak::scenario
