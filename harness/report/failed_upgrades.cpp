#include "report/failed_upgrades.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "report/count_table.h"

namespace migsoak::report {

namespace {

constexpr std::size_t kFailedUpgradeRowsMax = 1000;  // a hostile database may hold any number; the total has them all

using FailedUpgradeCount = std::int64_t FailedUpgradeTally::*;
constexpr std::array<std::pair<CountColumn, FailedUpgradeCount>, 12> kFailedUpgradeColumns = {{
    {{"", "tries", true}, &FailedUpgradeTally::attempts},
    {{"old VM", "ran on", false}, &FailedUpgradeTally::kept_running},
    {{"", "resumed", false}, &FailedUpgradeTally::resumed},
    {{"started", "again", false}, &FailedUpgradeTally::started_again},
    {{"new", "side", false}, &FailedUpgradeTally::new_side},
    {{"", "lost", true}, &FailedUpgradeTally::lost},
    {{"", "unknown", false}, &FailedUpgradeTally::unknown},
    {{"", "intact", true}, &FailedUpgradeTally::intact},
    {{"", "damaged", false}, &FailedUpgradeTally::damaged},
    {{"", "migrated", true}, &FailedUpgradeTally::migrated},
    {{"not", "migrated", false}, &FailedUpgradeTally::not_migrated},
    {{"max", "ms", true}, &FailedUpgradeTally::longest_ms},
}};

FailedUpgradeCount fate_of(const base::Json& detail) {
  const std::string fate = base::json_get<std::string>(detail, "fate", "");
  const std::string how = base::json_get<std::string>(detail, "how", "");
  if (fate == "destination") return &FailedUpgradeTally::new_side;
  if (fate == "lost") return &FailedUpgradeTally::lost;
  if (fate != "source") return &FailedUpgradeTally::unknown;
  if (how == "kept-running") return &FailedUpgradeTally::kept_running;
  if (how == "resumed") return &FailedUpgradeTally::resumed;
  return how == "started-again" ? &FailedUpgradeTally::started_again : &FailedUpgradeTally::unknown;
}

void take_failed_upgrade(FailedUpgrades& upgrades, const base::Json& detail) {
  FailedUpgradeTally one;
  one.attempts = 1;
  one.*fate_of(detail) = 1;
  // Where it is absent, both defaults hold: neither counts.
  one.intact = base::json_get<bool>(detail, "intact", false) ? 1 : 0;
  one.damaged = base::json_get<bool>(detail, "intact", true) ? 0 : 1;
  one.migrated = base::json_get<bool>(detail, "migrates", false) ? 1 : 0;
  one.not_migrated = base::json_get<bool>(detail, "migrates", true) ? 0 : 1;
  one.longest_ms = bounded_count(base::json_get<double>(detail, "took_ms", 0));
  upgrades.total.add(one);
  const std::pair key(base::printable(base::json_get<std::string>(detail, "mode", ""), 40),
                      base::printable(base::json_get<std::string>(detail, "failure", ""), 40));
  if (upgrades.rows.size() < kFailedUpgradeRowsMax || upgrades.rows.contains(key)) upgrades.rows[key].add(one);
}

}  // namespace

void FailedUpgradeTally::add(const FailedUpgradeTally& other) {
  const std::int64_t longest = std::max(longest_ms, other.longest_ms);
  for (const auto& [column, count] : kFailedUpgradeColumns) this->*count += other.*count;
  longest_ms = longest;
}

base::Result<FailedUpgrades> failed_upgrades_of(const store::Store& store) {
  FailedUpgrades upgrades;
  MIGSOAK_TRY(store.for_each_event(record::event_kind::kUpgradeFailure,
                                   [&](std::int64_t, const record::Event& event) -> base::Result<void> {
                                     take_failed_upgrade(upgrades, event.detail);
                                     return {};
                                   }));
  return upgrades;
}

void print_failed_upgrades(Page& page, const FailedUpgrades& upgrades) {
  const FailedUpgradeTally& total = upgrades.total;
  if (total.attempts == 0) return;
  std::string words = fmt::format("{}: the guest was in the old VM after {}, in the new one after {}, lost in {}",
                                  plural(total.attempts, "upgrade"),
                                  total.kept_running + total.resumed + total.started_again, total.new_side, total.lost);
  if (total.unknown > 0) words += fmt::format(", unknown in {}", total.unknown);
  words += fmt::format("; {} verified intact, {} migrated afterwards", total.intact, total.migrated);
  page.labelled("made to fail", words, 4);
  std::vector<CountColumn> columns;
  for (const auto& [column, count] : kFailedUpgradeColumns) columns.push_back(column);
  CountTable table({"failure"}, std::move(columns));
  for (const auto& [key, tally] : upgrades.rows) {
    std::vector<std::int64_t> counts;
    for (const auto& [column, count] : kFailedUpgradeColumns) counts.push_back(tally.*count);
    table.row(key.first, {key.second}, std::move(counts));
  }
  table.put_on(page);
}

}  // namespace migsoak::report
