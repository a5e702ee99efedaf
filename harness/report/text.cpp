// The report for people: one screen.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>

#include "base/text.h"
#include "report/figures.h"
#include "report/report.h"

namespace migsoak::report {

namespace {

constexpr std::size_t kFindingsShownMax = 5;    // the rest is counted: `migsoak findings` lists them
constexpr std::size_t kExclusionsShownMax = 4;  // likewise
constexpr std::size_t kSparkColumns = 40;
constexpr int kLabelColumns = 13;

using Series = std::vector<store::Store::Point>;

class Page {
 public:
  Page(int width_columns, bool colour) : width_(std::clamp(width_columns, 40, 200)), colour_(colour) {}

  enum class Ink { plain, bad, odd, good, faint };
  std::string ink(Ink ink, const std::string& text) const {
    if (!colour_ || ink == Ink::plain) return text;
    const char* code = ink == Ink::bad ? "1;31" : ink == Ink::odd ? "1;33" : ink == Ink::good ? "1;32" : "2";
    return fmt::format("\033[{}m{}\033[0m", code, text);
  }
  void line(const std::string& text) { out_ += text + "\n"; }
  // "label        text", wrapped under itself.
  void labelled(const std::string& label, const std::string& text, int lines_max = 2) {
    out_ += ink(Ink::faint, fmt::format("{:<{}}", label, kLabelColumns)) +
            wrap(text, width_, kLabelColumns, lines_max) + "\n";
  }
  void paragraph(const std::string& text, int lines_max = 2) { out_ += "  " + wrap(text, width_, 2, lines_max) + "\n"; }
  int width() const { return width_; }
  std::string take() { return std::move(out_); }

 private:
  int width_;
  bool colour_;
  std::string out_;
};

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

std::string plural(std::int64_t count, const char* one) {
  return fmt::format("{} {}{}", count, one, count == 1 ? "" : "s");
}

void head(Page& page, const store::Store& store, const store::Store::Summary& summary, record::Verdict verdict) {
  const record::Manifest& manifest = store.manifest();
  page.line(page.ink(ink_of(verdict), upper(record::to_string(verdict))) + "  " +
            wrap(fmt::format("{}  (run {}, seed {})", base::printable(manifest.scenario, 100),
                             base::printable(manifest.run, 120), manifest.seed),
                 page.width(), 6, 2));
  std::vector<std::string> statuses;
  for (const auto& [status, count] : summary.by_status) {
    if (status != "started") statuses.push_back(fmt::format("{} {}", count, status));
  }
  std::string counts = fmt::format("{} of {} iterations", summary.iterations_finished, manifest.iterations_planned);
  if (!statuses.empty()) counts += " (" + base::join(statuses, ", ") + ")";
  counts += ", " + plural(summary.lineages, "lineage");
  if (summary.iterations_interrupted > 0) {
    counts += fmt::format(", {} interrupted", summary.iterations_interrupted);
  }
  page.paragraph(counts);
  if (!summary.verdict) {
    page.paragraph("The run has no end on record: it is still going on, or was killed.");
  } else if (summary.end_reason != "finished") {
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

base::Result<void> finding_block(Page& page, const store::Store& store, const record::Finding& finding) {
  const bool fails = finding.severity == record::Severity::fail;
  std::string title = base::printable(finding.detector, 60);
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
  const std::string evidence = evidence_of(finding);
  if (!evidence.empty()) page.paragraph("evidence: " + evidence);
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

base::Result<void> timing(Page& page, const store::Store& store) {
  MIGSOAK_ASSIGN(const std::vector<store::Store::IterationRow> rows, store.iterations());
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
  MIGSOAK_ASSIGN(const Series gap, store.series("guest", "heartbeat_gap_ms"));
  MIGSOAK_ASSIGN(const Series downtime, store.series("migration", "downtime_ms"));
  page.labelled("downtime", "the guest's clients see " + distribution(values_of(gap)) + "; QEMU says " +
                                distribution(values_of(downtime)));
  return {};
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
  head(page, store, summary, verdict_of(summary, findings));
  if (findings.empty()) page.paragraph("No findings.");
  for (std::size_t i = 0; i < findings.size() && i < kFindingsShownMax; ++i) {
    MIGSOAK_TRY(finding_block(page, store, findings[i]));
  }
  if (findings.size() > kFindingsShownMax) {
    page.line("");
    page.paragraph(fmt::format("and {} more: migsoak findings {}", findings.size() - kFindingsShownMax,
                               base::printable(base::shell_quote(store.path()), 4096)));
  }
  page.line("");
  MIGSOAK_TRY(ledger(page, store));
  MIGSOAK_TRY(verification(page, store));
  MIGSOAK_TRY(timing(page, store));
  MIGSOAK_TRY(exclusions(page, store));
  environment(page, store);
  return page.take();
}

}  // namespace migsoak::report
