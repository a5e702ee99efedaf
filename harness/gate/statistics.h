// Internal to gate: what may be said of counts and of values. Distributions are Boost.Math's; all functions are pure.
// Probabilities and shares lie between 0 and 1.
#pragma once

#include <cstdint>
#include <vector>

namespace migsoak::gate {

// Exact one-sided bounds of a share (Clopper and Pearson, Biometrika 26, 1934): each holds for itself with
// `confidence`.
struct ShareBounds {
  double lower = 0, upper = 1;
};
// 0 <= count <= of; of == 0 says nothing: 0 and 1.
ShareBounds share_bounds(std::int64_t count, std::int64_t of, double confidence);

// How many more must be tried, none of them counting, until the upper bound is at most `limit`. 0: it is. -1: more than
// 10^12.
std::int64_t more_needed(std::int64_t count, std::int64_t of, double limit, double confidence);

// How probable so many or more of the first group are when both groups have the same share: Fisher's exact test,
// one-sided (hypergeometric). Counts are at most what they are of, which is below 2^31.
double fisher_more(std::int64_t count, std::int64_t of, std::int64_t count_before, std::int64_t of_before);

// The same for counts that may be larger than what they are of (times per iteration): given their sum, the first one is
// binomial (Przyborowski and Wilenski, Biometrika 31, 1940).
double count_more(std::int64_t count, std::int64_t of, std::int64_t count_before, std::int64_t of_before);

// How probable it is that values of one distribution lie so much above others of the same: Mann-Whitney, one-sided, by
// the normal approximation with corrections for ties and continuity. Ascending; 1 when one of them is empty. Good from
// some ten values of each on.
double mann_whitney_above(const std::vector<double>& values, const std::vector<double>& before);

// Benjamini and Hochberg (J. R. Stat. Soc. B 57, 1995): p-values as they are to be compared with alpha when so many
// were looked at, in the same order.
std::vector<double> benjamini_hochberg(const std::vector<double>& p_values);

// In how many stretches two runs took turns, by the times at which their iterations began, ascending: 2 when one came
// after the other. Iterations that began at the same time are taken in turns.
std::int64_t turns(const std::vector<std::int64_t>& times, const std::vector<std::int64_t>& others);

// Of ascending values, not empty.
double median(const std::vector<double>& ascending);

}  // namespace migsoak::gate
