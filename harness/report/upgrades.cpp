#include "report/upgrades.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/text.h"
#include "report/figures.h"
#include "report/page.h"
#include "report/upgrade_count.h"

namespace migsoak::report {

namespace {
bool is_upgrade(const std::string& mode) {
  return mode.starts_with("cpr-");
}
}  // namespace

void UpgradeCount::take(const store::Store::IterationRow& row) {
  if (row.status != record::IterationStatus::completed) return;
  ++upgrades_.migrations;
  if (!is_upgrade(row.mode)) return;
  ++upgrades_.by_mode[row.mode];
  ++upgrades_.all;
  const std::int64_t count = ++by_lineage_[{row.lane, row.lineage}];
  upgrades_.most_of_one_guest = std::max(upgrades_.most_of_one_guest, count);
}

base::Result<Upgrades> UpgradeCount::conclude(const store::Store& store) {
  upgrades_.lineages = static_cast<std::int64_t>(by_lineage_.size());
  if (upgrades_.all == 0) return upgrades_;
  std::vector<std::pair<std::int64_t, std::int64_t>> pids;  // with start_ticks: one of a kind
  MIGSOAK_TRY(store.for_each_process([&](const record::ProcessInstance& process) -> base::Result<void> {
    if (!process.name.starts_with("qemu:")) return {};
    pids.emplace_back(process.pid, process.start_ticks);
    upgrades_.generations = std::max(upgrades_.generations, std::int64_t{process.generation});
    return {};
  }));
  std::sort(pids.begin(), pids.end());
  upgrades_.qemus = std::unique(pids.begin(), pids.end()) - pids.begin();
  return upgrades_;
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
