// Shares of iterations in which something went wrong: what may be said of them from so many.
#include <fmt/format.h>

#include <cmath>

#include "gate/difference.h"
#include "gate/lines.h"
#include "gate/statistics.h"

namespace migsoak::gate {

namespace {

using record::Verdict;

struct Rate {
  const char* name;
  std::int64_t RunEvidence::*count;
  double Policy::*limit;
};
constexpr Rate kRates[] = {{"failures", &RunEvidence::failures, &Policy::failures_max},
                           {"hangs", &RunEvidence::hangs, &Policy::hangs_max},
                           {"losses", &RunEvidence::losses, &Policy::losses_max}};

// One in the second significant digit.
double step_of(double value) {
  return value > 0 ? std::pow(10, std::floor(std::log10(value)) - 1) : 1;
}

// "0 of 3000: below 0.1 % at 95 %".
std::string bound_words(std::int64_t count, std::int64_t of, const ShareBounds& bounds, double confidence) {
  return fmt::format("{} of {}: below {} at {}", count, of, percent_above(bounds.upper), percent(confidence));
}

// Limit and bound; the line of a run without a baseline.
Line against_limit(const Rate& rate, const RunEvidence& run, const Policy& policy) {
  const std::int64_t count = run.*rate.count;
  const double limit = policy.*rate.limit;
  const ShareBounds bounds = share_bounds(count, run.told, policy.confidence);
  Line line;
  line.about = "rate";
  line.name = rate.name;
  line.reason = bound_words(count, run.told, bounds, policy.confidence);
  line.figures = {{"count", count}, {"of", run.told}, {"lower", bounds.lower}, {"upper", bounds.upper}};
  if (limit >= 1) {
    line.state = "no limit";
    line.verdict = Verdict::pass;
    return line;
  }
  line.figures["limit"] = limit;
  if (bounds.upper <= limit) {
    line.state = "within";
    line.verdict = Verdict::pass;
    line.reason += fmt::format(", the limit is {}", percent(limit));
  } else if (bounds.lower > limit) {
    line.state = "above";
    line.verdict = Verdict::fail;
    line.reason = fmt::format("{} of {}: above {} at {}, the limit is {}", count, run.told, percent_below(bounds.lower),
                              percent(policy.confidence), percent(limit));
  } else {
    const std::int64_t more = more_needed(count, run.told, limit, policy.confidence);
    line.state = "too few";
    line.verdict = Verdict::unknown;
    line.reason += fmt::format(", the limit is {}: {} iterations more without one are needed", percent(limit),
                               more < 0 ? "too many" : std::to_string(more));
    line.figures["more_needed"] = more;
  }
  return line;
}

}  // namespace

std::string percent(double share) {
  return fmt::format("{:g} %", share * 100);
}

std::string percent_above(double bound) {
  return percent(std::ceil(bound / step_of(bound)) * step_of(bound));
}

std::string percent_below(double bound) {
  return percent(std::floor(bound / step_of(bound)) * step_of(bound));
}

Comparison rate_lines(const RunEvidence& run, const RunEvidence* baseline, const Policy& policy) {
  Comparison out;
  const bool comparable =
      baseline != nullptr && baseline->told > 0 && run.told > 0 && same_scenario(baseline->manifest, run.manifest);
  for (const Rate& rate : kRates) {
    Line line = against_limit(rate, run, policy);
    if (!comparable) {
      out.lines.push_back(std::move(line));
      continue;
    }
    const std::int64_t before = baseline->*rate.count;
    Candidate candidate;
    candidate.p = fisher_more(run.*rate.count, run.told, before, baseline->told);
    candidate.is_large = true;
    const std::string then = fmt::format("; {} of {} in the baseline", before, baseline->told);
    candidate.worse_state = "more";
    candidate.worse_reason = line.reason + then + ", more than chance explains";
    line.reason += then;
    line.figures["baseline"] = {{"count", before}, {"of", baseline->told}};
    candidate.line = std::move(line);
    out.candidates.push_back(std::move(candidate));
  }
  return out;
}

}  // namespace migsoak::gate
