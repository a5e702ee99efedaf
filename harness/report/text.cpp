// The report for people: one screen.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "report/figures.h"
#include "report/page.h"
#include "report/render.h"

namespace migsoak::report {

namespace {

constexpr std::size_t kFindingsShownMax = kFindingsDrawnMax;  // the rest is counted: `migsoak findings` lists them
constexpr std::size_t kExclusionsShownMax = 4;                // likewise
constexpr std::size_t kSparkColumns = 40;
constexpr std::size_t kModesShownMax = 8;
constexpr std::size_t kKnownBytesMax = 2000;

Page::Ink ink_of(record::Verdict verdict) {
  switch (verdict) {
    case record::Verdict::pass: return Page::Ink::good;
    case record::Verdict::unknown: return Page::Ink::warning;
    case record::Verdict::fail: return Page::Ink::bad;
  }
  return Page::Ink::warning;
}

std::string upper(std::string text) {
  for (char& c : text) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return text;
}

void head(Page& page, const RunFacts& run, const Outcome& outcome) {
  const record::Verdict verdict = outcome.verdict;
  page.line(page.ink(ink_of(verdict), upper(record::to_string(verdict))) + "  " +
            wrap(fmt::format("{}  (run {}, seed {})", base::printable(run.scenario, 100),
                             base::printable(run.name, 120), run.seed),
                 page.width(), 6, 2));
  std::vector<std::string> statuses;
  for (const auto& [status, count] : run.by_status) {
    if (status != "started") statuses.push_back(fmt::format("{} {}", count, base::printable(status, 40)));
  }
  std::string counts = fmt::format("{} of {} iterations", outcome.end.finished, outcome.end.planned);
  if (!statuses.empty()) counts += " (" + base::join(statuses, ", ") + ")";
  counts += ", " + plural(run.lineages, "lineage");
  if (run.interrupted > 0) {
    counts += fmt::format(", {} interrupted", run.interrupted);
  }
  if (outcome.end.left_out > 0) {
    counts += fmt::format(", {} left out with lineages that were given up", outcome.end.left_out);
  }
  page.paragraph(counts);
  if (!run.ended && verdict != record::Verdict::unknown) {
    page.paragraph("The run has no end on record: it is still going on, or was killed.");
  } else if (run.ended && run.end_reason != "finished") {
    page.paragraph("ended: " + base::printable(run.end_reason), 3);
  }
}

std::string value_text(const std::string& metric, double value) {
  return metric.ends_with("_bytes") ? bytes_text(value) : number_text(value);
}

std::string spark_text(const Page& page, const Course& course) {
  const auto& [subject, metric, values] = course;
  const auto columns = std::min<std::size_t>(kSparkColumns, static_cast<std::size_t>(page.width() / 3));
  const double first = values.front(), last = values.back();
  const std::string range =
      first == last ? value_text(metric, last) : value_text(metric, first) + " → " + value_text(metric, last);
  return fmt::format("{} {} {}", sparkline(values, columns), range, base::printable(metric, 60));
}

// number: as the matrix names it; 0 when there is none.
void finding_block(Page& page, const ReportedFinding& one, std::size_t number) {
  const record::Finding& finding = one.finding;
  const bool fails = finding.severity == record::Severity::fail;
  std::string title = number > 0 ? fmt::format("#{}  ", number) : "";
  title += base::printable(finding.detector, 60);
  if (!finding.process.empty()) title += "  " + base::printable(finding.process, 100);
  if (!finding.kind.empty()) title += "  " + base::printable(finding.kind, 100);
  title += "  (blame: " + record::to_string(finding.blame) + ")";
  page.line("");
  page.line(page.ink(fails ? Page::Ink::bad : Page::Ink::warning, fails ? "FAIL" : "WARN") + "  " +
            wrap(title, page.width(), 6, 2));
  page.paragraph(base::printable(finding.title, 600), 3);
  if (!one.course.empty()) page.paragraph(base::printable(one.course));
  page.paragraph("how sure: " + base::printable(one.confidence));
  const std::string evidence = evidence_text(one.brief, Evidence::brief);
  if (!evidence.empty()) page.paragraph("evidence: " + evidence);
  if (!one.known.empty()) page.paragraph(base::printable(one.known, kKnownBytesMax));
  if (!one.shows.values.empty()) page.line("  " + spark_text(page, one.shows));
  // Never wrapped: it is there to be pasted.
  if (!finding.replay.empty()) page.line("  replay: " + base::printable(finding.replay, 4096));
}

void ledger(Page& page, const std::vector<Course>& descriptors) {
  for (std::size_t i = 0; i < descriptors.size(); ++i) {
    if (descriptors[i].values.empty()) continue;
    page.labelled(i == 0 ? "descriptors" : "",
                  spark_text(page, descriptors[i]) + " of " + base::printable(descriptors[i].subject, 60));
  }
}

void verification(Page& page, const Verified& verified) {
  page.labelled("verified", fmt::format("guest RAM {} and disks {} in {}; {} written", bytes_text(verified.ram_bytes),
                                        bytes_text(verified.disk_bytes), plural(verified.iterations, "iteration"),
                                        bytes_text(verified.written_bytes)));
}

std::string distribution_text(const Distribution& times) {
  if (times.count == 0) return "not measured";
  return fmt::format("p50 {:.0f}, p95 {:.0f}, max {:.0f} ms", times.p50, times.p95, times.max);
}

void downtime(Page& page, const std::vector<Downtime>& modes) {
  const std::size_t shown = std::min(modes.size(), kModesShownMax);
  for (std::size_t i = 0; i < shown; ++i) {
    const Downtime& mode = modes[i];
    const std::string shape = histogram_text(mode.clients.shape);
    page.labelled(i == 0 ? "downtime" : "",
                  fmt::format("{}: the guest's clients see {}; QEMU says {}{}", base::printable(mode.mode, 40),
                              distribution_text(mode.clients), distribution_text(mode.qemu),
                              shape.empty() ? "" : "; clients: " + shape));
  }
  if (modes.size() > shown) page.labelled("", fmt::format("and {} more modes", modes.size() - shown));
}

void timing(Page& page, const ReportModel& model) {
  const std::string upgrades = upgrades_text(model.upgrades);
  if (!upgrades.empty()) page.labelled("upgrades", upgrades, 3);
  if (model.durations.count == 0) return;
  std::string rate;
  if (model.span_ms > 0) {
    rate =
        fmt::format("{:.0f} iterations per hour; ", static_cast<double>(model.durations.count) * 3.6e6 / model.span_ms);
  }
  page.labelled("rate", rate + "one takes " + distribution_text(model.durations));
  downtime(page, model.downtime);
}

void exclusions(Page& page, const std::vector<record::Exclusion>& all) {
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
}

void environment(Page& page, const RunFacts& run) {
  std::vector<std::string> parts;
  for (const record::SideInfo& side : run.sides) {
    parts.push_back(fmt::format("{}: QEMU {}", base::printable(side.name, 40), base::printable(side.qemu_version, 80)));
  }
  if (!run.environment.empty()) parts.push_back(flatten(run.environment, 600));
  parts.push_back("migsoak " + base::printable(run.migsoak_version, 40));
  page.labelled("environment", base::join(parts, "; "), 3);
  page.labelled("database", base::printable(run.database, 4096), 4);
}

}  // namespace

std::string render_text(const ReportModel& model, int width_columns, bool colour) {
  const std::vector<ReportedFinding>& findings = model.findings;
  Page page(width_columns, colour);
  head(page, model.run, model.outcome);
  if (model.outcome.verdict == record::Verdict::unknown) {
    std::string found = base::printable(model.outcome.found, 8192) + ".";
    found.front() = findings.empty() ? 'N' : found.front();
    page.paragraph(found, 3);
  } else if (findings.empty()) {
    page.paragraph("No findings.");
  }
  for (std::size_t i = 0; i < findings.size() && i < kFindingsShownMax; ++i) {
    finding_block(page, findings[i], model.matrix ? i + 1 : 0);
  }
  if (findings.size() > kFindingsShownMax) {
    page.line("");
    page.paragraph(fmt::format("and {} more: migsoak findings {}", findings.size() - kFindingsShownMax,
                               base::printable(base::shell_quote(model.run.database), 4096)));
  }
  if (model.matrix) {
    std::vector<record::Finding> plain;
    for (const ReportedFinding& one : findings) plain.push_back(one.finding);
    print_matrix(page, *model.matrix, plain);
  }
  page.line("");
  print_coverage(page, model.hotplug, model.requested);
  print_expected_troubles(page, model.troubles);
  print_reads(page, model.reads);
  ledger(page, model.descriptors);
  verification(page, model.verified);
  timing(page, model);
  exclusions(page, model.exclusions);
  environment(page, model.run);
  return page.take();
}

}  // namespace migsoak::report
