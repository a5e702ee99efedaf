#include "gate/statistics.h"

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/hypergeometric.hpp>
#include <boost/math/distributions/normal.hpp>
#include <cassert>
#include <cmath>
#include <numeric>

namespace migsoak::gate {

namespace {

constexpr std::int64_t kMoreMax = 1'000'000'000'000;

}  // namespace

ShareBounds share_bounds(std::int64_t count, std::int64_t of, double confidence) {
  assert(count >= 0 && count <= of && confidence > 0 && confidence < 1);
  using Binomial = boost::math::binomial_distribution<double>;
  const auto n = static_cast<double>(of), k = static_cast<double>(count);
  ShareBounds bounds;
  if (count > 0) bounds.lower = Binomial::find_lower_bound_on_p(n, k, 1 - confidence);
  if (count < of) bounds.upper = Binomial::find_upper_bound_on_p(n, k, 1 - confidence);
  return bounds;
}

std::int64_t more_needed(std::int64_t count, std::int64_t of, double limit, double confidence) {
  const auto enough = [&](std::int64_t more) { return share_bounds(count, of + more, confidence).upper <= limit; };
  if (enough(0)) return 0;
  std::int64_t most = 1;
  while (!enough(most)) {
    if (most > kMoreMax) return -1;
    most *= 2;
  }
  std::int64_t too_few = most / 2;
  while (most - too_few > 1) {
    const std::int64_t middle = too_few + (most - too_few) / 2;
    (enough(middle) ? most : too_few) = middle;
  }
  return most;
}

double fisher_more(std::int64_t count, std::int64_t of, std::int64_t count_before, std::int64_t of_before) {
  assert(count >= 0 && count <= of && count_before >= 0 && count_before <= of_before);
  const std::int64_t counted = count + count_before, all = of + of_before;
  if (count == 0 || counted == 0 || of_before == 0) return 1;
  if (count - 1 < counted - of_before) return 1;  // so many there are in any case
  const boost::math::hypergeometric_distribution<double> drawn(static_cast<unsigned>(counted),
                                                               static_cast<unsigned>(of), static_cast<unsigned>(all));
  return boost::math::cdf(boost::math::complement(drawn, static_cast<unsigned>(count - 1)));
}

double count_more(std::int64_t count, std::int64_t of, std::int64_t count_before, std::int64_t of_before) {
  assert(count >= 0 && count_before >= 0 && of >= 0 && of_before >= 0);
  if (count == 0 || of == 0 || of_before == 0) return 1;
  const double all = static_cast<double>(count) + static_cast<double>(count_before);  // of what anybody wrote
  const boost::math::binomial_distribution<double> share(all,
                                                         static_cast<double>(of) / static_cast<double>(of + of_before));
  return boost::math::cdf(boost::math::complement(share, static_cast<double>(count - 1)));
}

double mann_whitney_above(const std::vector<double>& values, const std::vector<double>& before) {
  assert(std::is_sorted(values.begin(), values.end()) && std::is_sorted(before.begin(), before.end()));
  if (values.empty() || before.empty()) return 1;
  const auto n = static_cast<double>(values.size()), m = static_cast<double>(before.size());
  // Both are walked over at once, value by value; equal ones share the mean of their ranks.
  double rank_sum = 0, ties = 0, passed = 0;
  for (std::size_t i = 0, j = 0; i < values.size() || j < before.size();) {
    const double value = j == before.size() || (i < values.size() && values[i] < before[j]) ? values[i] : before[j];
    double here = 0, there = 0;
    for (; i < values.size() && values[i] == value; ++i) ++here;
    for (; j < before.size() && before[j] == value; ++j) ++there;
    const double tied = here + there;
    rank_sum += here * (passed + (tied + 1) / 2);
    ties += tied * tied * tied - tied;
    passed += tied;
  }
  const double above = rank_sum - n * (n + 1) / 2;  // pairs in which the first is larger
  const double all = n + m;
  const double variance = n * m / 12 * (all + 1 - ties / (all * (all - 1)));
  if (!(variance > 0)) return 1;  // all are equal
  const double z = (above - n * m / 2 - 0.5) / std::sqrt(variance);
  return boost::math::cdf(boost::math::complement(boost::math::normal_distribution<double>(), z));
}

std::vector<double> benjamini_hochberg(const std::vector<double>& p_values) {
  std::vector<std::size_t> order(p_values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return p_values[a] > p_values[b]; });
  std::vector<double> adjusted(p_values.size());
  double least = 1;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto rank = static_cast<double>(order.size() - i);
    least = std::min(least, p_values[order[i]] * static_cast<double>(order.size()) / rank);
    adjusted[order[i]] = least;
  }
  return adjusted;
}

std::int64_t turns(const std::vector<std::int64_t>& times, const std::vector<std::int64_t>& others) {
  std::int64_t count = 0;
  int last = -1;  // whose turn it was
  for (std::size_t i = 0, j = 0; i < times.size() || j < others.size();) {
    int next = 0;
    if (i == times.size() || (j < others.size() && others[j] < times[i])) {
      next = 1;
    } else if (j < others.size() && others[j] == times[i]) {
      next = last == 0 ? 1 : 0;  // whoever was not the last
    }
    ++(next == 0 ? i : j);
    if (next != last) ++count;
    last = next;
  }
  return count;
}

double median(const std::vector<double>& ascending) {
  assert(!ascending.empty());
  const std::size_t middle = ascending.size() / 2;
  return ascending.size() % 2 == 1 ? ascending[middle] : (ascending[middle - 1] + ascending[middle]) / 2;
}

}  // namespace migsoak::gate
