// Durations and sizes against a baseline: on the same host only, significant and large.
#include <fmt/format.h>

#include <cmath>

#include "base/text.h"
#include "gate/difference.h"
#include "gate/lines.h"
#include "gate/statistics.h"

namespace migsoak::gate {

namespace {

using record::Verdict;

constexpr std::size_t kNameShownMax = 100;

Line uncompared(std::string name, std::string state, std::string reason, const Policy& policy) {
  return {"compare",
          std::move(name),
          std::move(state),
          std::move(reason),
          policy.required ? Verdict::unknown : Verdict::pass,
          base::Json::object()};
}

std::string number(double value) {
  return std::abs(value) < 1e6 && value == std::floor(value) ? fmt::format("{:.0f}", value)
                                                             : fmt::format("{:.4g}", value);
}

std::string name_of(const ValuesKey& key) {
  return fmt::format("{}.{} {}", base::printable(key.subject, kNameShownMax),
                     base::printable(key.metric, kNameShownMax), base::printable(key.mode, kNameShownMax));
}

// Five of each: when load comes and goes by itself, all five of one run are its busiest in one of 252 cases.
constexpr std::int64_t kTurnsMin = 10;

// Both runs had the same host to themselves as often; else the reason why that can't be said.
std::string why_not_interleaved(const RunEvidence& run, const RunEvidence& baseline) {
  const std::int64_t count = turns(run.started_unix_ms, baseline.started_unix_ms);
  if (count >= kTurnsMin) return "";
  return fmt::format(
      "the runs took {} turns, {} are needed to tell a change from the host's load: run both at once, or "
      "in turns with --resume",
      count, kTurnsMin);
}

Candidate compare(const ValuesKey& key, const std::vector<double>& now, const std::vector<double>& before, double floor,
                  const Policy& policy) {
  const double median_now = median(now), median_before = median(before), grown = median_now - median_before;
  // From nothing to something is a change of any size; the floor says whether it matters.
  const double change = median_before > 0 ? grown / median_before : (grown > 0 ? 1e9 : 0);
  Candidate candidate;
  candidate.p = mann_whitney_above(now, before);
  candidate.is_large = change > policy.change_min && grown > floor;
  const std::string medians =
      fmt::format("median {} of {}, {} of {} in the baseline{}", number(median_now), now.size(), number(median_before),
                  before.size(), median_before > 0 ? fmt::format(" ({:+.1f} %)", 100 * change) : "");
  Line& line = candidate.line;
  line.about = "compare";
  line.name = name_of(key);
  line.state = "no worse";
  line.reason = medians;
  line.verdict = Verdict::pass;
  line.figures = {{"subject", key.subject}, {"metric", key.metric},
                  {"mode", key.mode},       {"values", now.size()},
                  {"median", median_now},   {"baseline", {{"values", before.size()}, {"median", median_before}}}};
  candidate.worse_state = "worse";
  candidate.worse_reason = medians;
  return candidate;
}

}  // namespace

Comparison value_lines(const RunEvidence& run, const RunEvidence* baseline, const Policy& policy) {
  Comparison out;
  if (baseline == nullptr) {
    if (policy.required) {
      out.lines.push_back(
          uncompared("figures", "no baseline", "the policy demands a comparison, there is no --baseline", policy));
    }
    return out;
  }
  const std::vector<Difference> found = differences(baseline->manifest, run.manifest, policy.same);
  if (!found.empty()) {
    out.lines.push_back(uncompared("figures", "not the same",
                                   "durations and sizes are not compared, the runs differ in " + words_of(found),
                                   policy));
    base::Json& named = out.lines.back().figures["differs"] = base::Json::array();
    for (const Difference& one : found) {
      named.push_back({{"key", one.key}, {"baseline", one.before}, {"run", one.now}});
    }
    return out;
  }
  if (const std::optional<Difference> other = subject_difference(baseline->manifest, run.manifest)) {
    out.lines.push_back({"compare", "subject", "another",
                         "compared all the same, what is under test differs in " + words_of({*other}), Verdict::pass,
                         base::Json::object()});
  }
  const std::string confounded = policy.interleaved ? why_not_interleaved(run, *baseline) : "";
  for (const Metric& metric : policy.metrics) {
    bool on_record = false;
    for (const auto& [key, now] : run.values) {
      if (key.subject != metric.subject || key.metric != metric.name) continue;
      on_record = true;
      const auto then = baseline->values.find(key);
      const std::size_t before = then == baseline->values.end() ? 0 : then->second.size();
      const auto least = static_cast<std::size_t>(policy.values_min);
      if (now.size() < least || before < least) {
        out.lines.push_back(uncompared(
            name_of(key), "too few",
            fmt::format("{} values, {} in the baseline: {} of each are needed", now.size(), before, least), policy));
        continue;
      }
      Candidate candidate = compare(key, now, then->second, metric.floor, policy);
      if (!confounded.empty()) {
        candidate.worse = Verdict::unknown;
        candidate.worse_reason += "; " + confounded;
      }
      out.candidates.push_back(std::move(candidate));
    }
    if (!on_record) {
      out.lines.push_back(uncompared(name_of({metric.subject, metric.name, ""}), "not on record",
                                     "the run has no value of it", policy));
    }
  }
  return out;
}

}  // namespace migsoak::gate
