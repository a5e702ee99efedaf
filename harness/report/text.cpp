// The report for people: one screen.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/text.h"
#include "report/coverage.h"
#include "report/expected_trouble.h"
#include "report/figures.h"
#include "report/matrix.h"
#include "report/page.h"
#include "report/reads.h"
#include "report/report.h"
#include "report/upgrades.h"
#include "report/walk.h"
#include "report/wishes.h"

namespace migsoak::report {

namespace {

constexpr std::size_t kFindingsShownMax = 5;    // the rest is counted: `migsoak findings` lists them
constexpr std::size_t kExclusionsShownMax = 4;  // likewise
constexpr std::size_t kSparkColumns = 40;
constexpr std::size_t kHistogramColumns = 12;
constexpr std::size_t kModesShownMax = 8;

using SeriesName = store::Store::SeriesName;

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
  constexpr std::size_t kShownMax = 4;
  std::vector<SeriesName> ledgers;
  for (const SeriesName& name : names) {
    const bool is_shown = name.subject.starts_with("target:") || name.subject == "harness";
    if (name.metric == "fd.total" && is_shown && ledgers.size() < kShownMax) ledgers.push_back(name);
  }
  return ledgers;
}

// What the page draws.
std::vector<SeriesName> wanted_series(const std::vector<record::Finding>& findings,
                                      const std::vector<SeriesName>& ledgers) {
  std::vector<SeriesName> wanted = ledgers;
  for (std::size_t i = 0; i < findings.size() && i < kFindingsShownMax; ++i) {
    for (const std::string& metric : metrics_of(findings[i])) wanted.push_back({findings[i].process, metric});
  }
  return wanted;
}

std::string value_text(const std::string& metric, double value) {
  return metric.ends_with("_bytes") ? bytes_text(value) : number_text(value);
}

std::string spark_text(const Page& page, const std::string& metric, const std::vector<double>& values) {
  const auto columns = std::min<std::size_t>(kSparkColumns, static_cast<std::size_t>(page.width() / 3));
  const double first = values.front(), last = values.back();
  const std::string range =
      first == last ? value_text(metric, last) : value_text(metric, first) + " → " + value_text(metric, last);
  return fmt::format("{} {} {}", sparkline(values, columns), range, base::printable(metric, 60));
}

// number: as the matrix names it; 0 when there is none.
void finding_block(Page& page, const Walk& walk, const record::Finding& finding, std::size_t number) {
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
  for (const std::string& metric : metrics_of(finding)) {
    const std::vector<double>& values = walk.values_of(finding.process, metric);
    if (values.empty() || metric.empty() || finding.process.empty()) continue;
    page.line("  " + spark_text(page, metric, values));
    break;
  }
  // Never wrapped: it is there to be pasted.
  if (!finding.replay.empty()) page.line("  replay: " + base::printable(finding.replay, 4096));
}

void ledger(Page& page, const Walk& walk, const std::vector<SeriesName>& ledgers) {
  for (const SeriesName& name : ledgers) {
    const std::vector<double>& values = walk.values_of(name.subject, name.metric);
    if (values.empty()) continue;
    page.labelled(name == ledgers.front() ? "descriptors" : "",
                  spark_text(page, name.metric, values) + " of " + base::printable(name.subject, 60));
  }
}

void verification(Page& page, const Walk& walk) {
  page.labelled("verified", fmt::format("guest RAM {} and disks {} in {}; {} written", bytes_text(walk.ram_bytes),
                                        bytes_text(walk.disk_bytes), plural(walk.ram_iterations, "iteration"),
                                        bytes_text(walk.written_bytes)));
}

std::string distribution(const std::vector<double>& values) {
  if (values.empty()) return "not measured";
  return fmt::format("p50 {:.0f}, p95 {:.0f}, max {:.0f} ms", percentile(values, 50), percentile(values, 95),
                     percentile(values, 100));
}

// By mode, most used first.
void downtime(Page& page, const Walk& walk) {
  std::vector<std::string> modes;
  for (const auto& [mode, times] : walk.downtime) modes.push_back(mode);
  std::stable_sort(modes.begin(), modes.end(), [&](const std::string& a, const std::string& b) {
    return walk.downtime.at(a).clients.size() > walk.downtime.at(b).clients.size();
  });
  if (modes.size() > kModesShownMax) modes.resize(kModesShownMax);
  for (const std::string& mode : modes) {
    const auto& [clients, qemu] = walk.downtime.at(mode);
    const std::string shape = histogram(clients, kHistogramColumns);
    page.labelled(mode == modes.front() ? "downtime" : "",
                  fmt::format("{}: the guest's clients see {}; QEMU says {}{}", base::printable(mode, 40),
                              distribution(clients), distribution(qemu), shape.empty() ? "" : "; clients: " + shape));
  }
  if (walk.downtime.size() > modes.size()) {
    page.labelled("", fmt::format("and {} more modes", walk.downtime.size() - modes.size()));
  }
}

void timing(Page& page, const Walk& walk) {
  const std::string upgrades = upgrades_text(walk.upgrades);
  if (!upgrades.empty()) page.labelled("upgrades", upgrades, 3);
  if (walk.durations.empty()) return;
  std::string rate;
  if (walk.ended_unix_ms > walk.began_unix_ms) {
    rate = fmt::format("{:.0f} iterations per hour; ",
                       static_cast<double>(walk.durations.size()) * 3.6e6 / (walk.ended_unix_ms - walk.began_unix_ms));
  }
  page.labelled("rate", rate + "one takes " + distribution(walk.durations));
  downtime(page, walk);
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
  MIGSOAK_ASSIGN(const std::vector<SeriesName> names, store.series_names());
  const std::vector<SeriesName> ledgers = ledgers_of(names);
  MIGSOAK_ASSIGN(const Walk walk, report::walk(store, findings, wanted_series(findings, ledgers)));
  const std::optional<Matrix>& matrix = walk.matrix;
  for (std::size_t i = 0; i < findings.size() && i < kFindingsShownMax; ++i) {
    finding_block(page, walk, findings[i], matrix ? i + 1 : 0);
  }
  if (findings.size() > kFindingsShownMax) {
    page.line("");
    page.paragraph(fmt::format("and {} more: migsoak findings {}", findings.size() - kFindingsShownMax,
                               base::printable(base::shell_quote(store.path()), 4096)));
  }
  if (matrix) print_matrix(page, *matrix, findings);
  page.line("");
  MIGSOAK_ASSIGN(const Coverage coverage, coverage_of(store, walk.operations));
  print_coverage(page, coverage, wishes_of(store.manifest()));
  MIGSOAK_ASSIGN(const ExpectedTroubles troubles, expected_troubles_of(store));
  print_expected_troubles(page, troubles);
  MIGSOAK_ASSIGN(const std::vector<ReadCount> reads, reads_of(store));
  print_reads(page, reads);
  ledger(page, walk, ledgers);
  verification(page, walk);
  timing(page, walk);
  MIGSOAK_TRY(exclusions(page, store));
  environment(page, store);
  return page.take();
}

}  // namespace migsoak::report
