#include "report/upgrades.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/text.h"

namespace migsoak::report {

namespace {
bool is_upgrade(const std::string& mode) {
  return mode.starts_with("cpr-");
}
}  // namespace

Upgrades upgrades_of(const std::vector<store::Store::IterationRow>& rows,
                     const std::vector<record::ProcessInstance>& processes) {
  Upgrades upgrades;
  std::map<std::pair<int, int>, std::int64_t> by_lineage;
  for (const store::Store::IterationRow& row : rows) {
    if (row.status != record::IterationStatus::completed) continue;
    ++upgrades.migrations;
    if (!is_upgrade(row.mode)) continue;
    ++upgrades.by_mode[row.mode];
    ++upgrades.all;
    const std::int64_t count = ++by_lineage[{row.lane, row.lineage}];
    upgrades.most_of_one_guest = std::max(upgrades.most_of_one_guest, count);
  }
  upgrades.lineages = static_cast<std::int64_t>(by_lineage.size());
  std::set<std::pair<std::int64_t, std::int64_t>> pids;
  for (const record::ProcessInstance& process : processes) {
    if (!process.name.starts_with("qemu:")) continue;
    pids.emplace(process.pid, process.start_ticks);
    upgrades.generations = std::max(upgrades.generations, std::int64_t{process.generation});
  }
  upgrades.qemus = static_cast<std::int64_t>(pids.size());
  return upgrades;
}

std::string upgrades_text(const Upgrades& upgrades) {
  if (upgrades.all == 0) return "";
  std::vector<std::string> modes;
  for (const auto& [mode, count] : upgrades.by_mode) {
    modes.push_back(fmt::format("{} {}", base::printable(mode, 40), count));
  }
  std::string text = fmt::format("{}", upgrades.all);
  text += upgrades.lineages == 1
              ? " of one guest"
              : fmt::format(" of {} guests, up to {} of one", upgrades.lineages, upgrades.most_of_one_guest);
  text += " (" + base::join(modes, ", ") + ")";
  if (upgrades.migrations > upgrades.all) {
    text += fmt::format(" and {} other migrations", upgrades.migrations - upgrades.all);
  }
  text += fmt::format(": {} QEMU {}", upgrades.qemus, upgrades.qemus == 1 ? "process" : "processes");
  if (upgrades.generations > 0) {
    text += fmt::format(", {}{} of one pid", upgrades.qemus == 1 ? "" : "up to ",
                        plural(upgrades.generations, "exec generation"));
  }
  return text;
}

}  // namespace migsoak::report
