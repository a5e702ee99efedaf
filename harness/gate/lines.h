// Internal to gate: the three kinds of evidence, each as lines.
#pragma once

#include <vector>

#include "gate/evidence.h"
#include "gate/gate.h"

namespace migsoak::gate {

// Did the run come to its end, and could what it did be read? Nothing where all is well.
std::vector<Line> run_lines(const RunEvidence& run);
// Findings by fingerprint, and waivers that did not count.
std::vector<Line> finding_lines(const RunEvidence& run, const RunEvidence* baseline, const Policy& policy, Day day);

// Where a comparison has a p-value, it is worse only when that is still below alpha after the correction for all of
// them.
struct Candidate {
  Line line;                                      // as it is when it is not worse
  double p = 1;                                   // of no change
  bool is_large = false;                          // large enough to matter; always, for a share
  record::Verdict worse = record::Verdict::fail;  // what it then is, and its state and reason
  std::string worse_state;
  std::string worse_reason;
};
struct Comparison {
  std::vector<Line> lines;  // what could not be compared, or needs no baseline
  std::vector<Candidate> candidates;
};
// Shares of iterations, each with its bound.
Comparison rate_lines(const RunEvidence& run, const RunEvidence* baseline, const Policy& policy);
// Durations and sizes against the baseline. Nothing without one, unless the policy demands it.
Comparison value_lines(const RunEvidence& run, const RunEvidence* baseline, const Policy& policy);

// "0.1 %": of a share. A bound is rounded to two significant digits to the side on which it stays true.
std::string percent(double share);
std::string percent_above(double bound);  // what is below it
std::string percent_below(double bound);  // what is above it

}  // namespace migsoak::gate
