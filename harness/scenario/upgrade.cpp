// [upgrade] of a scenario.
#include <fmt/format.h>

#include <algorithm>

#include "ops/modes/mode.h"
#include "ops/upgrade_failures/upgrade_failure.h"
#include "scenario/table_reader.h"

namespace migsoak::scenario {

using base::Result;

Result<void> read_upgrade(const TableReader& in, UpgradeScenario& upgrade) {
  in.read_list("failure", upgrade.failures);
  for (const std::string& name : upgrade.failures) {
    MIGSOAK_TRY(in.check_choice("failure", name, ops::upgrade_failure_names()));
  }
  MIGSOAK_TRY(in.read_integer("every", upgrade.every, 1, 1'000'000));
  return in.read_integer("deadline_s", upgrade.deadline_s, 1, 3600);
}

Result<void> check_upgrade(const toml::table& root, const Scenario& scenario) {
  const toml::table* table = root["upgrade"].as_table();
  for (const std::string& name : scenario.upgrade.failures) {
    const ops::UpgradeFailure* failure = ops::find_upgrade_failure(name);
    const auto has_it = [&](const ops::Mode& mode) {
      return scenario.uses_mode(mode.name) && ops::applies(*failure, mode, scenario.transport);
    };
    if (std::any_of(ops::modes().begin(), ops::modes().end(), has_it)) continue;
    return TableReader(*table, scenario.file, "upgrade")
        .error("failure", fmt::format("'{}' can't happen in the modes of this scenario: {}", name, failure->summary));
  }
  return {};
}

}  // namespace migsoak::scenario
