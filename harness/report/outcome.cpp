// What may be said of a whole run, and the findings with their replay commands.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "report/model_build.h"
#include "report/reads.h"
#include "store/store.h"

namespace migsoak::report {

namespace {

// Why nothing can be said of iterations that were finished; empty when something can.
base::Result<std::string> why_unjudged(const store::Store& store, const store::Store::Summary& summary,
                                       const std::vector<ReadCount>& reads) {
  std::int64_t troubles = 0, first = 0;
  std::string what;
  MIGSOAK_TRY(store.for_each_event(record::event_kind::kHarnessError,
                                   [&](std::int64_t iteration, const record::Event& event) -> base::Result<void> {
                                     if (troubles++ > 0) return {};
                                     first = iteration;
                                     what = base::printable(event.text, 300);
                                     return {};
                                   }));
  if (troubles > 0) {
    return fmt::format("the harness or its environment failed {}, first in iteration {}: {}",
                       troubles == 1 ? "once" : fmt::format("{} times", troubles), first, what);
  }
  if (const auto unknown = summary.by_status.find("unknown"); unknown != summary.by_status.end()) {
    return fmt::format("of {} iterations nothing can be said", unknown->second);
  }
  std::vector<std::string> missed;
  for (const ReadCount& count : reads) {
    if (count.missed() > 0) missed.push_back(missed_text(count));
  }
  if (!missed.empty()) return base::join(missed, "; ");
  return std::string();
}

base::Result<std::string> why_unknown(const store::Store& store, const store::Store::Summary& summary,
                                      const std::vector<ReadCount>& reads, const record::RunEnd& end) {
  if (end.reason.starts_with(record::end_reason::kHarness)) return base::printable(why_unfinished(end), 400);
  MIGSOAK_ASSIGN(std::string why, why_unjudged(store, summary, reads));
  if (!why.empty()) return why;
  if (!came_to_its_end(end)) return base::printable(why_unfinished(end), 400);
  if (end.finished == 0) return "no iteration was finished";
  return "the run ended as unknown: " + base::printable(end.reason, 300);
}

}  // namespace

base::Result<Outcome> outcome_of(const store::Store& store, const store::Store::Summary& summary,
                                 const std::vector<record::Finding>& findings, const std::vector<ReadCount>& reads) {
  Outcome outcome;
  MIGSOAK_ASSIGN(outcome.end, store::run_end(store, summary));
  const bool failed = std::any_of(findings.begin(), findings.end(), [](const record::Finding& finding) {
    return finding.severity == record::Severity::fail;
  });
  const record::Verdict judged = failed ? record::Verdict::fail : summary.verdict.value_or(record::Verdict::unknown);
  outcome.verdict = record::verdict_of_run(outcome.end, judged);
  outcome.found = findings.empty() ? "nothing found" : fmt::format("{} found", findings.size());
  const bool short_of_plan = outcome.end.finished + outcome.end.left_out < outcome.end.planned;
  if (short_of_plan) {
    outcome.found += fmt::format(" in {} of {} iterations", outcome.end.finished, outcome.end.planned);
  }
  if (outcome.verdict == record::Verdict::unknown) {
    MIGSOAK_ASSIGN(const std::string why, why_unknown(store, summary, reads, outcome.end));
    outcome.found += ", but " + why;
  } else if (outcome.end.reason == record::end_reason::kDurationOver) {
    outcome.found += "; the time given by --duration was over";
  }
  return outcome;
}

base::Result<std::vector<record::Finding>> findings_with_replay(const store::Store& store) {
  MIGSOAK_ASSIGN(std::vector<record::Finding> findings, store.findings());
  // What recorded it, where that was no run (migsoak compat --db).
  const auto command = base::json_get(store.manifest().environment, "command", std::string());
  for (record::Finding& finding : findings) {
    finding.replay = command;
    if (!command.empty()) continue;
    const auto iteration = finding.detected_iteration ? finding.detected_iteration : finding.first_iteration;
    if (!iteration) continue;
    finding.replay = fmt::format("migsoak replay {} --iteration {}", base::shell_quote(store.path()), *iteration);
  }
  return findings;
}

}  // namespace migsoak::report
