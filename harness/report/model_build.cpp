#include "report/model_build.h"

#include <algorithm>
#include <utility>

#include "report/figures.h"
#include "report/walk.h"

namespace migsoak::report {

namespace {

using SeriesName = store::Store::SeriesName;

constexpr std::size_t kShapeStretches = 12;
constexpr std::size_t kLedgersMax = 4;

class StoreCursor final : public IterationCursor {
 public:
  explicit StoreCursor(const store::Store& store) : store_(store) {}
  base::Result<void> for_each_unclean(const std::function<void(const IterationCase&)>& visit) const override {
    return store_.for_each_iteration({}, [&](const store::Store::IterationRow& row, const store::Store::Values&) {
      if (row.status != record::IterationStatus::started && row.verdict == record::Verdict::pass) {
        return base::Result<void>();
      }
      visit({row.iteration, row.status, row.verdict, row.source, row.destination, row.mode, row.transport, row.phase,
             row.duration_ms});
      return base::Result<void>();
    });
  }

 private:
  const store::Store& store_;
};

RunFacts facts_of(const store::Store& store, const store::Store::Summary& summary) {
  const record::Manifest& manifest = store.manifest();
  RunFacts facts;
  facts.name = manifest.run;
  facts.scenario = manifest.scenario;
  facts.migsoak_version = manifest.migsoak_version;
  facts.database = store.path();
  facts.seed = manifest.seed;
  facts.sides = manifest.sides;
  facts.environment = manifest.environment;
  facts.ended = summary.verdict.has_value();
  facts.end_reason = summary.end_reason;
  facts.by_status = summary.by_status;
  facts.finished = summary.iterations_finished;
  facts.lineages = summary.lineages;
  facts.interrupted = summary.iterations_interrupted;
  return facts;
}

ReportedFinding reported(const record::Finding& finding) {
  ReportedFinding one;
  one.finding = finding;
  one.course = course_of(finding);
  one.confidence = confidence_of(finding);
  one.known = known_of(finding);
  one.evidence = evidence_lines(finding, Evidence::full);
  one.brief = evidence_lines(finding, Evidence::brief);
  return one;
}

// Metrics that may show what a finding is about, the most telling first.
std::vector<std::string> metrics_of(const record::Finding& finding) {
  std::vector<std::string> metrics = {base::json_get(finding.evidence, "metric", std::string())};
  if (finding.detector == "fd-leak") metrics.insert(metrics.end(), {"fd." + finding.kind, "fd.total"});
  if (finding.detector == "thread-leak") metrics.push_back("threads");
  if (finding.detector == "mapping-leak") metrics.push_back("mappings");
  if (finding.detector == "memory-growth") {
    metrics.insert(metrics.end(), {finding.kind, finding.kind + "_bytes", "rss_bytes"});
  }
  return metrics;
}

std::vector<SeriesName> ledgers_of(const std::vector<SeriesName>& names) {
  std::vector<SeriesName> ledgers;
  for (const SeriesName& name : names) {
    const bool is_shown = name.subject.starts_with("target:") || name.subject == "harness";
    if (name.metric == "fd.total" && is_shown && ledgers.size() < kLedgersMax) ledgers.push_back(name);
  }
  return ledgers;
}

Distribution distribution_of(const std::vector<double>& values) {
  const std::vector<double> found = percentiles(values, {50, 95, 100});
  return {values.size(), found[0], found[1], found[2], {}};
}

// What was walked over is given up as soon as it is made into what is told.
void take_walk(Walk walk, const std::vector<SeriesName>& ledgers, ReportModel& model) {
  model.matrix = std::move(walk.matrix);
  model.upgrades = walk.upgrades;
  model.verified = {walk.ram_bytes, walk.disk_bytes, walk.written_bytes, walk.ram_iterations};
  model.durations = distribution_of(std::exchange(walk.durations, {}));
  model.span_ms = walk.ended_unix_ms - walk.began_unix_ms;
  for (auto& [mode, times] : walk.downtime) {
    Downtime& one = model.downtime.emplace_back();
    one.mode = mode;
    one.clients = distribution_of(times.clients);
    one.clients.shape = histogram_counts(std::exchange(times.clients, {}), kShapeStretches);
    one.qemu = distribution_of(std::exchange(times.qemu, {}));
  }
  std::stable_sort(model.downtime.begin(), model.downtime.end(),
                   [](const Downtime& a, const Downtime& b) { return a.clients.count > b.clients.count; });
  for (std::size_t i = 0; i < model.findings.size() && i < kFindingsDrawnMax; ++i) {
    ReportedFinding& one = model.findings[i];
    for (const std::string& metric : metrics_of(one.finding)) {
      const std::vector<double>& values = walk.values_of(one.finding.process, metric);
      if (values.empty() || metric.empty() || one.finding.process.empty()) continue;
      one.shows = {one.finding.process, metric, values};
      break;
    }
  }
  for (const SeriesName& name : ledgers) {
    model.descriptors.push_back(
        {name.subject, name.metric, std::exchange(walk.series[{name.subject, name.metric}], {})});
  }
}

base::Result<void> take_cases(const store::Store& store, ReportModel& model) {
  MIGSOAK_ASSIGN(const std::vector<store::Store::Tally> tallies, store.tallies());
  for (const store::Store::Tally& tally : tallies) {
    model.tallies.push_back({tally.status, tally.verdict, tally.count, tally.duration_ms});
  }
  return {};
}

base::Result<void> take_page(const store::Store& store, const std::vector<record::Finding>& findings,
                             ReportModel& model) {
  MIGSOAK_ASSIGN(const std::vector<SeriesName> names, store.series_names());
  const std::vector<SeriesName> ledgers = ledgers_of(names);
  std::vector<SeriesName> wanted = ledgers;
  for (std::size_t i = 0; i < findings.size() && i < kFindingsDrawnMax; ++i) {
    for (const std::string& metric : metrics_of(findings[i])) wanted.push_back({findings[i].process, metric});
  }
  MIGSOAK_ASSIGN(Walk walk, report::walk(store, findings, wanted));
  const std::int64_t operations = walk.operations;
  take_walk(std::move(walk), ledgers, model);
  model.requested = requested_of(store.manifest());
  MIGSOAK_ASSIGN(model.hotplug, coverage_of(store, operations));
  MIGSOAK_ASSIGN(model.troubles, expected_troubles_of(store));
  return {};
}

}  // namespace

base::Result<ReportModel> model_of(const store::Store& store, Extent extent) {
  ReportModel model;
  MIGSOAK_ASSIGN(const store::Store::Summary summary, store.summary());
  MIGSOAK_ASSIGN(const std::vector<record::Finding> findings, findings_with_replay(store));
  model.run = facts_of(store, summary);
  MIGSOAK_ASSIGN(model.reads, reads_of(store));
  MIGSOAK_ASSIGN(model.outcome, outcome_of(store, summary, findings, model.reads));
  for (const record::Finding& finding : findings) model.findings.push_back(reported(finding));
  MIGSOAK_ASSIGN(model.exclusions, store.exclusions());
  model.iterations = std::make_shared<const StoreCursor>(store);
  if (extent == Extent::cases) {
    MIGSOAK_TRY(take_cases(store, model));
    MIGSOAK_ASSIGN(model.matrix, matrix_of(store, findings));
  }
  if (extent == Extent::page) MIGSOAK_TRY(take_page(store, findings, model));
  return model;
}

}  // namespace migsoak::report
