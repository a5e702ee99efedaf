#include "report/walk.h"

#include <algorithm>
#include <cmath>

namespace migsoak::report {

namespace {

using SeriesName = store::Store::SeriesName;

// What is done with the values of one series.
struct Use {
  SeriesName name;
  Walk::Values* kept = nullptr;
  double* sum = nullptr;
  bool is_ram = false, is_gap = false, is_downtime = false;
};

std::vector<Use> uses_of(const std::vector<SeriesName>& on_record, const std::vector<SeriesName>& wanted, Walk& into) {
  std::vector<Use> uses;
  for (const SeriesName& name : on_record) {
    Use use;
    use.name = name;
    use.is_ram = name == SeriesName{"guest", "ram_verified_bytes"};
    use.is_gap = name == SeriesName{"guest", "heartbeat_gap_ms"};
    use.is_downtime = name == SeriesName{"migration", "downtime_ms"};
    const bool of_disk = name.subject.starts_with("guest:disk:");
    if (use.is_ram) use.sum = &into.ram_bytes;
    if (of_disk && name.metric == "verified_bytes") use.sum = &into.disk_bytes;
    if (of_disk && name.metric == "written_bytes") use.sum = &into.written_bytes;
    if (std::find(wanted.begin(), wanted.end(), name) != wanted.end()) {
      use.kept = &into.series[{name.subject, name.metric}];
    }
    if (use.kept != nullptr || use.sum != nullptr || use.is_gap || use.is_downtime) uses.push_back(std::move(use));
  }
  return uses;
}

void take_values(const std::vector<Use>& uses, const store::Store::Values& values, Walk::Downtimes& downtimes,
                 Walk& into) {
  for (std::size_t i = 0; i < uses.size(); ++i) {
    if (!values[i]) continue;
    const double value = *values[i];
    const Use& use = uses[i];
    if (use.kept != nullptr) use.kept->push_back(value);
    if (use.sum != nullptr && std::isfinite(value)) *use.sum += value;
    if (use.is_ram && value > 0) ++into.ram_iterations;
    if (use.is_gap) downtimes.clients.push_back(value);
    if (use.is_downtime) downtimes.qemu.push_back(value);
  }
}

void take_times(const store::Store::IterationRow& row, Walk& into) {
  const auto start = static_cast<double>(row.started_unix_ms);
  if (into.durations.empty()) into.began_unix_ms = start;
  into.ended_unix_ms = std::max(into.ended_unix_ms, start + row.duration_ms);
  into.durations.push_back(row.duration_ms);
}

}  // namespace

const Walk::Values& Walk::values_of(const std::string& subject, const std::string& metric) const {
  static const Values kNone;
  const auto found = series.find({subject, metric});
  return found != series.end() ? found->second : kNone;
}

base::Result<Walk> walk(const store::Store& store, const std::vector<record::Finding>& findings,
                        const std::vector<SeriesName>& wanted) {
  Walk walk;
  MIGSOAK_ASSIGN(const std::vector<SeriesName> on_record, store.series_names());
  const std::vector<Use> uses = uses_of(on_record, wanted, walk);
  std::vector<SeriesName> names;
  for (const Use& use : uses) names.push_back(use.name);
  MIGSOAK_ASSIGN(MatrixFold matrix, MatrixFold::begin(store, findings));
  UpgradeCount upgrades;
  std::pair<const std::string, Walk::Downtimes>* mode = nullptr;  // of the row before: it seldom changes
  MIGSOAK_TRY(store.for_each_iteration(
      names, [&](const store::Store::IterationRow& row, const store::Store::Values& values) -> base::Result<void> {
        if (mode == nullptr || mode->first != row.mode) mode = &*walk.downtime.try_emplace(row.mode).first;
        take_values(uses, values, mode->second, walk);
        if (row.status != record::IterationStatus::started) {
          take_times(row, walk);
          walk.operations += row.operations;
        }
        upgrades.take(row);
        matrix.take(row);
        return {};
      }));
  std::erase_if(walk.downtime,
                [](const auto& entry) { return entry.second.clients.empty() && entry.second.qemu.empty(); });
  walk.matrix = matrix.conclude();
  MIGSOAK_ASSIGN(walk.upgrades, upgrades.conclude(store));
  return walk;
}

}  // namespace migsoak::report
