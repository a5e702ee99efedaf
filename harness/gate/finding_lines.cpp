// Findings by their fingerprint: new, known as the baseline's, waived.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "gate/lines.h"
#include "gate/statistics.h"

namespace migsoak::gate {

namespace {

using record::Finding;
using record::Severity;
using record::Verdict;

constexpr std::size_t kReasonBytesMax = 600;

std::string name_of(const Finding& finding) {
  std::string name = base::printable(finding.detector, 60);
  for (const std::string& part : {finding.process, finding.kind}) {
    if (!part.empty()) name += " " + base::printable(part, 100);
  }
  return name;
}

bool matches(const Waiver& waiver, const Finding& finding) {
  if (!waiver.fingerprint.empty()) return waiver.fingerprint == finding.fingerprint;
  const auto fits = [](const std::string& wanted, const std::string& is) { return wanted.empty() || wanted == is; };
  return waiver.detector == finding.detector && fits(waiver.process, finding.process) &&
         fits(waiver.kind, finding.kind);
}

const Finding* find(const RunEvidence* baseline, const std::string& fingerprint) {
  if (baseline == nullptr || fingerprint.empty()) return nullptr;
  const auto found = std::find_if(baseline->findings.begin(), baseline->findings.end(),
                                  [&](const Finding& one) { return one.fingerprint == fingerprint; });
  return found == baseline->findings.end() ? nullptr : &*found;
}

// Empty: it is not more than it was in the baseline. A detector's own rate is taken at its word; times seen are counts,
// which chance moves.
std::string more_than(const Finding& now, const RunEvidence& run, const Finding& then, const RunEvidence& baseline,
                      const Policy& policy) {
  if (now.severity == Severity::fail && then.severity == Severity::warn) return "was a warning in the baseline";
  if (now.rate_per_iteration && then.rate_per_iteration) {
    if (*now.rate_per_iteration <= *then.rate_per_iteration * (1 + policy.change_min)) return "";
    return fmt::format("{:.4g} per iteration, {:.4g} in the baseline", *now.rate_per_iteration,
                       *then.rate_per_iteration);
  }
  const std::int64_t count = std::max<std::int64_t>(0, now.count), before = std::max<std::int64_t>(0, then.count);
  const double p = count_more(count, run.end.finished, before, baseline.end.finished);
  if (p >= policy.alpha) return "";
  return fmt::format("{} in {} iterations, {} in {} in the baseline (p = {:.2g})", count, run.end.finished, before,
                     baseline.end.finished, p);
}

std::string waiver_words(const Waiver& waiver) {
  return fmt::format("{}: {} (until {})", base::printable(waiver.place), base::printable(waiver.reason, 300),
                     to_string(waiver.expires));
}

// The one that counts, else one that is over.
const Waiver* waiver_of(const Finding& finding, const Policy& policy, Day day) {
  const Waiver* over = nullptr;
  for (const Waiver& waiver : policy.waivers) {
    if (!matches(waiver, finding)) continue;
    if (waiver.expires >= day) return &waiver;
    over = &waiver;
  }
  return over;
}

Line line_of(const Finding& finding, const RunEvidence& run, const RunEvidence* baseline, const Policy& policy,
             Day day) {
  Line line;
  line.about = "finding";
  line.name = name_of(finding);
  line.figures = {{"fingerprint", finding.fingerprint},
                  {"severity", record::to_string(finding.severity)},
                  {"count", finding.count},
                  {"replay", finding.replay}};
  const std::string title = base::printable(finding.title, kReasonBytesMax);
  const auto decide_as = [&](const char* state, Verdict verdict, const std::string& why) {
    line.state = state;
    line.verdict = verdict;
    line.reason = why.empty() ? title : title + "; " + why;
    return line;
  };
  const Waiver* waiver = waiver_of(finding, policy, day);
  if (waiver != nullptr && waiver->expires >= day) {
    return decide_as("waived", Verdict::pass, "waived by " + waiver_words(*waiver));
  }
  std::string late;
  if (waiver != nullptr) {
    late = fmt::format("its waiver expired on {} ({}: {})", to_string(waiver->expires), base::printable(waiver->place),
                       base::printable(waiver->reason, 300));
  }
  // A scenario's [gate] says what is only a warning; that is printed and decides nothing.
  const Verdict bad = finding.severity == Severity::fail ? Verdict::fail : Verdict::pass;
  const Finding* known = find(baseline, finding.fingerprint);
  if (known == nullptr) {
    if (finding.severity == Severity::warn) return decide_as("warning", Verdict::pass, late);
    return decide_as("new", Verdict::fail, late);
  }
  const std::string more = more_than(finding, run, *known, *baseline, policy);
  if (!more.empty()) return decide_as("more", bad, late.empty() ? more : more + "; " + late);
  return decide_as("baseline", Verdict::pass, "known from the baseline, not more often");
}

}  // namespace

std::vector<Line> finding_lines(const RunEvidence& run, const RunEvidence* baseline, const Policy& policy, Day day) {
  std::vector<Line> lines;
  for (const Finding& finding : run.findings) lines.push_back(line_of(finding, run, baseline, policy, day));
  if (baseline != nullptr) {
    for (const Finding& then : baseline->findings) {
      if (find(&run, then.fingerprint) != nullptr) continue;
      lines.push_back({"finding",
                       name_of(then),
                       "gone",
                       base::printable(then.title, kReasonBytesMax) + "; in the baseline, not in this run",
                       Verdict::pass,
                       {{"fingerprint", then.fingerprint}}});
    }
  }
  for (const Waiver& waiver : policy.waivers) {
    const bool used = std::any_of(run.findings.begin(), run.findings.end(),
                                  [&](const Finding& finding) { return matches(waiver, finding); });
    if (used) continue;
    const std::string& name = waiver.fingerprint.empty() ? waiver.detector : waiver.fingerprint;
    lines.push_back({"waiver", base::printable(name), waiver.expires < day ? "expired" : "unused",
                     "matches no finding: " + waiver_words(waiver), Verdict::pass, base::Json::object()});
  }
  return lines;
}

}  // namespace migsoak::gate
