// The report for people: one screen.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/text.h"
#include "report/coverage.h"
#include "report/failed_upgrades.h"
#include "report/figures.h"
#include "report/matrix.h"
#include "report/page.h"
#include "report/reads.h"
#include "report/report.h"
#include "report/restarts.h"
#include "report/upgrades.h"
#include "report/wishes.h"

namespace migsoak::report {

namespace {

constexpr std::size_t kFindingsShownMax = 5;    // the rest is counted: `migsoak findings` lists them
constexpr std::size_t kExclusionsShownMax = 4;  // likewise
constexpr std::size_t kSparkColumns = 40;
constexpr std::size_t kHistogramColumns = 12;
constexpr std::size_t kModesShownMax = 8;

using Series = std::vector<store::Store::Point>;

Page::Ink ink_of(record::Verdict verdict) {
  switch (verdict) {
    case record::Verdict::pass: return Page::Ink::good;
    case record::Verdict::unknown: return Page::Ink::odd;
    case record::Verdict::fail: return Page::Ink::bad;
  }
  return Page::Ink::odd;
}

std::string upper(std::string text) {
  for (char& c : text) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return text;
}

std::vector<double> values_of(const Series& series) {
  std::vector<double> values;
  values.reserve(series.size());
  for (const store::Store::Point& point : series) values.push_back(point.value);
  return values;
}

void head(Page& page, const store::Store& store, const store::Store::Summary& summary, const Outcome& outcome) {
  const record::Manifest& manifest = store.manifest();
  const record::Verdict verdict = outcome.verdict;
  page.line(page.ink(ink_of(verdict), upper(record::to_string(verdict))) + "  " +
            wrap(fmt::format("{}  (run {}, seed {})", base::printable(manifest.scenario, 100),
                             base::printable(manifest.run, 120), manifest.seed),
                 page.width(), 6, 2));
  std::vector<std::string> statuses;
  for (const auto& [status, count] : summary.by_status) {
    if (status != "started") statuses.push_back(fmt::format("{} {}", count, status));
  }
  std::string counts = fmt::format("{} of {} iterations", outcome.end.finished, outcome.end.planned);
  if (!statuses.empty()) counts += " (" + base::join(statuses, ", ") + ")";
  counts += ", " + plural(summary.lineages, "lineage");
  if (summary.iterations_interrupted > 0) {
    counts += fmt::format(", {} interrupted", summary.iterations_interrupted);
  }
  if (outcome.end.left_out > 0) {
    counts += fmt::format(", {} left out with lineages that were given up", outcome.end.left_out);
  }
  page.paragraph(counts);
  if (!summary.verdict && verdict != record::Verdict::unknown) {
    page.paragraph("The run has no end on record: it is still going on, or was killed.");
  } else if (summary.verdict && summary.end_reason != "finished") {
    page.paragraph("ended: " + base::printable(summary.end_reason), 3);
  }
}

// The series a finding is about; empty when it is about none.
base::Result<Series> series_of(const store::Store& store, const record::Finding& finding, std::string& metric) {
  std::vector<std::string> candidates = {base::json_get(finding.evidence, "metric", std::string())};
  if (finding.detector == "fd-leak") candidates.insert(candidates.end(), {"fd." + finding.kind, "fd.total"});
  if (finding.detector == "thread-leak") candidates.push_back("threads");
  if (finding.detector == "mapping-leak") candidates.push_back("mappings");
  if (finding.detector == "memory-growth") {
    candidates.insert(candidates.end(), {finding.kind, finding.kind + "_bytes", "rss_bytes"});
  }
  for (const std::string& candidate : candidates) {
    if (candidate.empty() || finding.process.empty()) continue;
    MIGSOAK_ASSIGN(Series series, store.series(finding.process, candidate));
    if (series.empty()) continue;
    metric = candidate;
    return series;
  }
  return Series{};
}

std::string value_text(const std::string& metric, double value) {
  return metric.ends_with("_bytes") ? bytes_text(value) : number_text(value);
}

std::string spark_text(const Page& page, const std::string& metric, const Series& series) {
  const auto columns = std::min<std::size_t>(kSparkColumns, static_cast<std::size_t>(page.width() / 3));
  const double first = series.front().value, last = series.back().value;
  const std::string range =
      first == last ? value_text(metric, last) : value_text(metric, first) + " → " + value_text(metric, last);
  return fmt::format("{} {} {}", sparkline(values_of(series), columns), range, base::printable(metric, 60));
}

// number: as the matrix names it; 0 when there is none.
base::Result<void> finding_block(Page& page, const store::Store& store, const record::Finding& finding,
                                 std::size_t number) {
  const bool fails = finding.severity == record::Severity::fail;
  std::string title = number > 0 ? fmt::format("#{}  ", number) : "";
  title += base::printable(finding.detector, 60);
  if (!finding.process.empty()) title += "  " + base::printable(finding.process, 100);
  if (!finding.kind.empty()) title += "  " + base::printable(finding.kind, 100);
  title += "  (blame: " + record::to_string(finding.blame) + ")";
  page.line("");
  page.line(page.ink(fails ? Page::Ink::bad : Page::Ink::odd, fails ? "FAIL" : "WARN") + "  " +
            wrap(title, page.width(), 6, 2));
  page.paragraph(base::printable(finding.title, 600), 3);
  const std::string course = course_of(finding);
  if (!course.empty()) page.paragraph(course);
  page.paragraph("how sure: " + confidence_of(finding));
  const std::string evidence = evidence_of(finding, Evidence::brief);
  if (!evidence.empty()) page.paragraph("evidence: " + evidence);
  if (const std::string known = known_of(finding); !known.empty()) page.paragraph(known);
  std::string metric;
  MIGSOAK_ASSIGN(const Series series, series_of(store, finding, metric));
  if (!series.empty()) page.line("  " + spark_text(page, metric, series));
  // Never wrapped: it is there to be pasted.
  if (!finding.replay.empty()) page.line("  replay: " + base::printable(finding.replay, 4096));
  return {};
}

base::Result<void> ledger(Page& page, const store::Store& store) {
  MIGSOAK_ASSIGN(const std::vector<store::Store::SeriesName> names, store.series_names());
  int shown = 0;
  for (const store::Store::SeriesName& name : names) {
    if (name.metric != "fd.total" || (!name.subject.starts_with("target:") && name.subject != "harness")) continue;
    if (++shown > 4) break;
    MIGSOAK_ASSIGN(const Series series, store.series(name.subject, name.metric));
    if (series.empty()) continue;
    page.labelled(shown == 1 ? "descriptors" : "",
                  spark_text(page, name.metric, series) + " of " + base::printable(name.subject, 60));
  }
  return {};
}

double sum_of(const Series& series) {
  double sum = 0;
  for (const store::Store::Point& point : series) sum += std::isfinite(point.value) ? point.value : 0;
  return sum;
}

base::Result<void> verification(Page& page, const store::Store& store) {
  MIGSOAK_ASSIGN(const std::vector<store::Store::SeriesName> names, store.series_names());
  double ram = 0, disks = 0, written = 0;
  std::size_t iterations = 0;
  for (const store::Store::SeriesName& name : names) {
    const bool is_ram = name.subject == "guest" && name.metric == "ram_verified_bytes";
    const bool is_disk = name.subject.starts_with("guest:disk:");
    if (!is_ram && !is_disk) continue;
    MIGSOAK_ASSIGN(const Series series, store.series(name.subject, name.metric));
    if (is_ram) {
      ram += sum_of(series);
      iterations = static_cast<std::size_t>(
          std::count_if(series.begin(), series.end(), [](const auto& point) { return point.value > 0; }));
    }
    if (is_disk && name.metric == "verified_bytes") disks += sum_of(series);
    if (is_disk && name.metric == "written_bytes") written += sum_of(series);
  }
  page.labelled("verified",
                fmt::format("guest RAM {} and disks {} in {}; {} written", bytes_text(ram), bytes_text(disks),
                            plural(static_cast<std::int64_t>(iterations), "iteration"), bytes_text(written)));
  return {};
}

std::string distribution(const std::vector<double>& values) {
  if (values.empty()) return "not measured";
  return fmt::format("p50 {:.0f}, p95 {:.0f}, max {:.0f} ms", percentile(values, 50), percentile(values, 95),
                     percentile(values, 100));
}

// By mode, most used first.
base::Result<void> downtime(Page& page, const store::Store& store,
                            const std::vector<store::Store::IterationRow>& rows) {
  MIGSOAK_ASSIGN(const Series gap, store.series("guest", "heartbeat_gap_ms"));
  MIGSOAK_ASSIGN(const Series qemus, store.series("migration", "downtime_ms"));
  std::map<std::int64_t, std::string> mode_of;
  std::map<std::string, std::pair<std::vector<double>, std::vector<double>>> by_mode;
  for (const store::Store::IterationRow& row : rows) mode_of[row.iteration] = row.mode;
  for (const store::Store::Point& point : gap) by_mode[mode_of[point.iteration]].first.push_back(point.value);
  for (const store::Store::Point& point : qemus) by_mode[mode_of[point.iteration]].second.push_back(point.value);
  std::vector<std::string> modes;
  for (const auto& [mode, values] : by_mode) modes.push_back(mode);
  std::stable_sort(modes.begin(), modes.end(), [&](const std::string& a, const std::string& b) {
    return by_mode[a].first.size() > by_mode[b].first.size();
  });
  if (modes.size() > kModesShownMax) modes.resize(kModesShownMax);
  for (const std::string& mode : modes) {
    const auto& [clients, qemu] = by_mode[mode];
    const std::string shape = histogram(clients, kHistogramColumns);
    page.labelled(mode == modes.front() ? "downtime" : "",
                  fmt::format("{}: the guest's clients see {}; QEMU says {}{}", base::printable(mode, 40),
                              distribution(clients), distribution(qemu), shape.empty() ? "" : "; clients: " + shape));
  }
  if (by_mode.size() > modes.size()) page.labelled("", fmt::format("and {} more modes", by_mode.size() - modes.size()));
  return {};
}

base::Result<void> timing(Page& page, const store::Store& store) {
  MIGSOAK_ASSIGN(const std::vector<store::Store::IterationRow> rows, store.iterations());
  MIGSOAK_ASSIGN(const std::vector<record::ProcessInstance> processes, store.processes());
  const std::string upgrades = upgrades_text(upgrades_of(rows, processes));
  if (!upgrades.empty()) page.labelled("upgrades", upgrades, 3);
  std::vector<double> durations;
  double first_ms = 0, last_ms = 0;
  for (const store::Store::IterationRow& row : rows) {
    if (row.status == record::IterationStatus::started) continue;
    const auto start = static_cast<double>(row.started_unix_ms);
    if (durations.empty()) first_ms = start;
    last_ms = std::max(last_ms, start + row.duration_ms);
    durations.push_back(row.duration_ms);
  }
  if (durations.empty()) return {};
  std::string rate;
  if (last_ms > first_ms) {
    rate = fmt::format("{:.0f} iterations per hour; ",
                       static_cast<double>(durations.size()) * 3.6e6 / (last_ms - first_ms));
  }
  page.labelled("rate", rate + "one takes " + distribution(durations));
  return downtime(page, store, rows);
}

base::Result<void> exclusions(Page& page, const store::Store& store) {
  MIGSOAK_ASSIGN(const std::vector<record::Exclusion> all, store.exclusions());
  if (all.empty()) page.labelled("excluded", "nothing");
  for (std::size_t i = 0; i < all.size() && i < kExclusionsShownMax; ++i) {
    page.labelled(i == 0 ? "excluded" : "",
                  fmt::format("{}× {} ({}): {}", all[i].count, base::printable(all[i].name, 100),
                              base::printable(all[i].detector, 60), base::printable(all[i].reason)));
  }
  if (all.size() > kExclusionsShownMax) {
    std::int64_t rest = 0;
    for (std::size_t i = kExclusionsShownMax; i < all.size(); ++i) rest += all[i].count;
    page.labelled("", fmt::format("and {} more kinds, {} times in all (table exclusion of the database)",
                                  all.size() - kExclusionsShownMax, rest));
  }
  return {};
}

void environment(Page& page, const store::Store& store) {
  const record::Manifest& manifest = store.manifest();
  std::vector<std::string> parts;
  for (const record::SideInfo& side : manifest.sides) {
    parts.push_back(fmt::format("{}: QEMU {}", base::printable(side.name, 40), base::printable(side.qemu_version, 80)));
  }
  if (!manifest.environment.empty()) parts.push_back(flatten(manifest.environment, 600));
  parts.push_back("migsoak " + base::printable(manifest.migsoak_version, 40));
  page.labelled("environment", base::join(parts, "; "), 3);
  page.labelled("database", base::printable(store.path(), 4096), 4);
}

}  // namespace

base::Result<std::string> text(const store::Store& store, int width_columns, bool colour) {
  MIGSOAK_ASSIGN(const store::Store::Summary summary, store.summary());
  MIGSOAK_ASSIGN(const std::vector<record::Finding> findings, findings_with_replay(store));
  Page page(width_columns, colour);
  MIGSOAK_ASSIGN(const Outcome outcome, outcome_of(store, summary, findings));
  head(page, store, summary, outcome);
  if (outcome.verdict == record::Verdict::unknown) {
    std::string found = outcome.found + ".";
    found.front() = findings.empty() ? 'N' : found.front();
    page.paragraph(found, 3);
  } else if (findings.empty()) {
    page.paragraph("No findings.");
  }
  MIGSOAK_ASSIGN(const std::optional<Matrix> matrix, matrix_of(store, findings));
  for (std::size_t i = 0; i < findings.size() && i < kFindingsShownMax; ++i) {
    MIGSOAK_TRY(finding_block(page, store, findings[i], matrix ? i + 1 : 0));
  }
  if (findings.size() > kFindingsShownMax) {
    page.line("");
    page.paragraph(fmt::format("and {} more: migsoak findings {}", findings.size() - kFindingsShownMax,
                               base::printable(base::shell_quote(store.path()), 4096)));
  }
  if (matrix) print_matrix(page, *matrix, findings);
  page.line("");
  MIGSOAK_ASSIGN(const Coverage coverage, coverage_of(store));
  print_coverage(page, coverage, wishes_of(store.manifest()));
  MIGSOAK_ASSIGN(const FailedUpgrades failed_upgrades, failed_upgrades_of(store));
  print_failed_upgrades(page, failed_upgrades);
  MIGSOAK_ASSIGN(const Restarts restarts, restarts_of(store));
  print_restarts(page, restarts);
  MIGSOAK_ASSIGN(const std::vector<ReadCount> reads, reads_of(store));
  print_reads(page, reads);
  MIGSOAK_TRY(ledger(page, store));
  MIGSOAK_TRY(verification(page, store));
  MIGSOAK_TRY(timing(page, store));
  MIGSOAK_TRY(exclusions(page, store));
  environment(page, store);
  return page.take();
}

}  // namespace migsoak::report
