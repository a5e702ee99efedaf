#include "gate/gate.h"

#include <fmt/format.h>

#include <algorithm>
#include <future>
#include <iterator>

#include "base/text.h"
#include "gate/difference.h"
#include "gate/evidence.h"
#include "gate/lines.h"
#include "gate/statistics.h"
#include "store/store.h"

namespace migsoak::gate {

namespace {

using record::Verdict;

// Shares and figures are one family: alpha is the chance that any of them fails where nothing has changed.
void settle(Comparison comparison, const Policy& policy, std::vector<Line>& into) {
  std::vector<double> p_values;
  for (const Candidate& candidate : comparison.candidates) p_values.push_back(candidate.p);
  const std::vector<double> adjusted = benjamini_hochberg(p_values);
  for (std::size_t i = 0; i < adjusted.size(); ++i) {
    Candidate& candidate = comparison.candidates[i];
    Line& line = candidate.line;
    line.figures["p"] = candidate.p;
    line.figures["p_adjusted"] = adjusted[i];
    if (candidate.is_large && adjusted[i] < policy.alpha) {
      line.verdict = std::max(line.verdict, candidate.worse);
      line.state = candidate.worse_state;
      line.reason = fmt::format("{} (p = {:.2g}, corrected for {} comparisons)", candidate.worse_reason, adjusted[i],
                                adjusted.size());
    }
    into.push_back(std::move(line));
  }
  std::move(comparison.lines.begin(), comparison.lines.end(), std::back_inserter(into));
}

void append(std::vector<Line> lines, std::vector<Line>& into) {
  std::move(lines.begin(), lines.end(), std::back_inserter(into));
}

}  // namespace

Decision decide(const RunEvidence& run, const RunEvidence* baseline, const Policy& policy, Day day) {
  Decision decision;
  decision.run = base::printable(run.manifest.run);
  decision.scenario = base::printable(run.manifest.scenario);
  decision.database = base::printable(run.database);
  if (baseline != nullptr) decision.baseline = base::printable(baseline->database);
  append(run_lines(run), decision.lines);
  append(finding_lines(run, baseline, policy, day), decision.lines);
  Comparison all = rate_lines(run, baseline, policy);
  Comparison values = value_lines(run, baseline, policy);
  std::move(values.lines.begin(), values.lines.end(), std::back_inserter(all.lines));
  std::move(values.candidates.begin(), values.candidates.end(), std::back_inserter(all.candidates));
  settle(std::move(all), policy, decision.lines);
  // Worst first; lines of one verdict stay in their order.
  std::stable_sort(decision.lines.begin(), decision.lines.end(),
                   [](const Line& a, const Line& b) { return a.verdict > b.verdict; });
  decision.verdict = Verdict::pass;
  for (const Line& line : decision.lines) decision.verdict = std::max(decision.verdict, line.verdict);
  return decision;
}

base::Result<Decision> gate(const store::Store& run, const store::Store* baseline, const Policy& policy, Day day) {
  // Values are read where they are compared: a million of each are not free.
  const bool comparable = baseline != nullptr && differences(baseline->manifest(), run.manifest(), policy.same).empty();
  const std::vector<Metric> metrics = comparable ? policy.metrics : std::vector<Metric>();
  if (baseline == nullptr) {
    MIGSOAK_ASSIGN(const RunEvidence alone, evidence_of(run, metrics));
    return decide(alone, nullptr, policy, day);
  }
  // Two databases, read side by side.
  std::future<base::Result<RunEvidence>> other = std::async([&] { return evidence_of(*baseline, metrics); });
  base::Result<RunEvidence> read = evidence_of(run, metrics);
  base::Result<RunEvidence> read_before = other.get();
  MIGSOAK_ASSIGN(const RunEvidence now, std::move(read));
  MIGSOAK_ASSIGN(const RunEvidence before, std::move(read_before), "--baseline");
  return decide(now, &before, policy, day);
}

}  // namespace migsoak::gate
