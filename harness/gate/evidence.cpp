#include "gate/evidence.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "report/model_build.h"
#include "store/store.h"

namespace migsoak::gate {

namespace {

// Iterations in which something hung.
base::Result<std::set<std::int64_t>> hung_iterations(const store::Store& store) {
  std::set<std::int64_t> hung;
  MIGSOAK_TRY(store.for_each_event(record::event_kind::kHang,
                                   [&](std::int64_t iteration, const record::Event&) -> base::Result<void> {
                                     hung.insert(iteration);
                                     return {};
                                   }));
  return hung;
}

base::Result<void> take_harness_errors(const store::Store& store, RunEvidence& into) {
  return store.for_each_event(record::event_kind::kHarnessError,
                              [&](std::int64_t, const record::Event& event) -> base::Result<void> {
                                if (into.harness_errors++ == 0) into.first_harness_error = event.text;
                                return {};
                              });
}

// What the scenario declares or waives leaves an iteration that passes.
void count(const store::Store::IterationRow& row, const std::set<std::int64_t>& hung, RunEvidence& into) {
  using enum record::IterationStatus;
  if (row.status == started) return;
  if (row.status == unknown) {
    ++into.untold;
    return;
  }
  ++into.told;
  into.started_unix_ms.push_back(row.started_unix_ms);
  if (row.verdict != record::Verdict::fail) return;
  if (row.status == failed || row.status == lost) ++into.failures;
  if (row.status == lost) ++into.losses;
  if (hung.contains(row.iteration)) ++into.hangs;
}

base::Result<void> take_iterations(const store::Store& store, const std::vector<Metric>& metrics, RunEvidence& into) {
  MIGSOAK_ASSIGN(const std::set<std::int64_t> hung, hung_iterations(store));
  MIGSOAK_ASSIGN(const std::vector<store::Store::SeriesName> on_record, store.series_names());
  std::vector<store::Store::SeriesName> series;
  for (const Metric& metric : metrics) {
    const store::Store::SeriesName name{metric.subject, metric.name};
    if (std::find(on_record.begin(), on_record.end(), name) != on_record.end()) series.push_back(name);
  }
  std::string mode;  // of the row before: it seldom changes, and a map of a million look-ups is slow
  std::vector<std::vector<double>*> columns;
  MIGSOAK_TRY(store.for_each_iteration(
      series, [&](const store::Store::IterationRow& row, const store::Store::Values& values) -> base::Result<void> {
        count(row, hung, into);
        // A migration that did not come about has no downtime worth comparing.
        if (row.status != record::IterationStatus::completed) return {};
        if (columns.empty() || row.mode != mode) {
          mode = row.mode;
          columns.clear();
          for (const auto& [subject, metric] : series) columns.push_back(&into.values[{subject, metric, mode}]);
        }
        for (std::size_t i = 0; i < values.size(); ++i) {
          if (values[i] && std::isfinite(*values[i])) columns[i]->push_back(*values[i]);
        }
        return {};
      }));
  std::sort(into.started_unix_ms.begin(), into.started_unix_ms.end());
  for (auto& [key, found] : into.values) std::sort(found.begin(), found.end());
  return {};
}

}  // namespace

base::Result<RunEvidence> evidence_of(const store::Store& store, const std::vector<Metric>& metrics) {
  RunEvidence evidence;
  evidence.database = store.path();
  evidence.manifest = store.manifest();
  MIGSOAK_ASSIGN(const store::Store::Summary summary, store.summary());
  MIGSOAK_ASSIGN(evidence.end, store::run_end(store, summary));
  evidence.recorded = summary.verdict.value_or(record::Verdict::unknown);
  MIGSOAK_ASSIGN(evidence.findings, report::findings_with_replay(store));
  MIGSOAK_ASSIGN(evidence.reads, report::reads_of(store));
  MIGSOAK_TRY(take_harness_errors(store, evidence));
  MIGSOAK_TRY(take_iterations(store, metrics, evidence));
  return evidence;
}

}  // namespace migsoak::gate
