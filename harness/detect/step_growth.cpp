#include "detect/step_growth.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

namespace migsoak::detect {

namespace {

constexpr int kExactWindowMax = 64;  // points looked back at by the exact test; slower leaks are the sparse test's
constexpr int kEveryWindow = 9;
// A sparse leak needs this many steps. Pools of descriptors seen so far stay below 8; 1 in 50 must be proven by
// iteration 400, which leaves 7 steps when the first falls together with the start.
constexpr std::size_t kStepsFast = 8, kStepsSlow = 7, kStepsIrregular = 16;
constexpr double kSlowGap = 40;
constexpr std::int32_t kSparseSpan = 40;

struct Later {
  std::int32_t iteration;
  std::int32_t value;
};

bool same_slope(std::int64_t rise_a, std::int64_t run_a, std::int64_t rise_b, std::int64_t run_b) {
  return rise_a * run_b == rise_b * run_a;
}

}  // namespace

std::optional<LeakProof> exact_leak(const std::vector<Count>& points, std::int32_t from) {
  std::array<std::pair<ClassId, Later>, 16>
      latest;  // few classes (sides x contexts x modes): a linear search beats a map
  std::size_t classes = 0;
  std::int64_t rise = 0, run = 0;
  int used = 0, pairs = 0;
  LeakProof proof;
  for (auto point = points.rbegin(); point != points.rend() && point->iteration >= from; ++point) {
    const auto begin = latest.begin(), end = begin + static_cast<std::ptrdiff_t>(classes);
    const auto known = std::find_if(begin, end, [&](const auto& entry) { return entry.first == point->class_id; });
    if (known == end) {
      if (classes == latest.size()) break;
      latest[classes++] = {point->class_id, {point->iteration, point->value}};
    } else {
      const std::int64_t this_rise = known->second.value - point->value;
      const std::int64_t this_run = known->second.iteration - point->iteration;
      if (this_rise <= 0 || this_run <= 0) break;
      if (run == 0) {
        rise = this_rise;
        run = this_run;
      } else if (!same_slope(this_rise, this_run, rise, run)) {
        break;
      }
      known->second = {point->iteration, point->value};
      ++pairs;
      proof.gap_max = std::max(proof.gap_max, this_run);
    }
    ++used;
    proof.window_first = point->iteration;
    if (used >= kExactWindowMax) break;
  }
  if (run == 0) return std::nullopt;
  proof.rate = static_cast<double>(rise) / static_cast<double>(run);
  proof.window_last = points.back().iteration;
  const double growth = proof.rate * static_cast<double>(proof.window_last - proof.window_first);
  // A slow exact slope shows the same few steps in every class: ask for as many steps as the dense one has.
  if (used < kDenseWindow || pairs < kDenseWindow - 3 || growth < kDenseWindow - 1) return std::nullopt;
  proof.rule = "exact";
  proof.step = proof.rate;
  proof.points = used;
  proof.gap_min = proof.gap_max;
  // The oldest point of the run is the last one before the growth, or the first that was seen at all.
  proof.since_iteration = proof.window_first + 1;
  for (std::size_t i = 0; i < classes; ++i) proof.classes.push_back(latest[i].first);
  return proof;
}

std::optional<LeakProof> every_iteration_leak(const std::vector<Count>& points, std::int32_t from) {
  if (points.size() < kEveryWindow) return std::nullopt;
  const auto first = points.end() - kEveryWindow;
  if (first->iteration < from) return std::nullopt;
  double slowest = 1e18, fastest = 0;
  for (auto point = first + 1; point != points.end(); ++point) {
    const std::int32_t run = point->iteration - (point - 1)->iteration;
    const std::int32_t rise = point->value - (point - 1)->value;
    if (rise <= 0 || run <= 0 || point->context_id != first->context_id) return std::nullopt;
    slowest = std::min(slowest, static_cast<double>(rise) / run);
    fastest = std::max(fastest, static_cast<double>(rise) / run);
  }
  if (fastest > 3 * slowest) return std::nullopt;
  LeakProof proof;
  proof.rule = "every-iteration";
  proof.window_first = first->iteration;
  proof.window_last = points.back().iteration;
  proof.rate = static_cast<double>(points.back().value - first->value) /
               static_cast<double>(proof.window_last - proof.window_first);
  proof.step = proof.rate;
  proof.since_iteration = proof.window_first + 1;
  proof.points = kEveryWindow;
  for (auto point = first; point != points.end(); ++point) {
    if (std::find(proof.classes.begin(), proof.classes.end(), point->class_id) == proof.classes.end()) {
      proof.classes.push_back(point->class_id);
    }
  }
  return proof;
}

void SuffixMinima::add(std::int32_t iteration, std::int32_t value) {
  std::int32_t since = iteration;
  while (!levels_.empty() && levels_.back().value > value) {
    since = levels_.back().since;
    levels_.pop_back();
  }
  if (!levels_.empty() && levels_.back().value >= value) return;
  if (levels_.size() >= kLevelsMax) levels_.erase(levels_.begin(), levels_.begin() + kLevelsMax / 2);
  levels_.push_back({since, value});
}

namespace {

// The largest fall from an earlier point to a later one, within [from, now] of one class: what the process is known
// to take and give back.
std::int32_t largest_fall(const std::vector<Count>& points, ClassId class_id, std::int32_t from) {
  std::int32_t fall = 0;
  bool any = false;
  std::int32_t later_min = 0;
  for (auto point = points.rbegin(); point != points.rend() && point->iteration >= from; ++point) {
    if (point->class_id != class_id) continue;
    if (any) fall = std::max(fall, point->value - later_min);
    later_min = any ? std::min(later_min, point->value) : point->value;
    any = true;
  }
  return fall;
}

std::int32_t stride_of(const std::vector<Count>& points, ClassId class_id) {
  std::int32_t previous = -1, stride = 1;
  int seen = 0;
  for (auto point = points.rbegin(); point != points.rend() && seen < 12; ++point) {
    if (point->class_id != class_id) continue;
    if (previous >= 0) stride = std::max(stride, previous - point->iteration);
    previous = point->iteration;
    ++seen;
  }
  return stride;
}

struct Tail {  // the last `count` levels of a series
  std::vector<SuffixMinima::Level> steps;
  std::vector<double> gaps;
  std::int32_t base_value = 0;
};

Tail tail_of(const std::vector<SuffixMinima::Level>& levels, std::size_t end, std::size_t count) {
  Tail tail;
  tail.base_value = levels[end - count - 1].value;
  tail.steps.assign(levels.begin() + static_cast<std::ptrdiff_t>(end - count),
                    levels.begin() + static_cast<std::ptrdiff_t>(end));
  for (std::size_t i = 1; i < count; ++i) tail.gaps.push_back(tail.steps[i].since - tail.steps[i - 1].since);
  return tail;
}

double median_of(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

bool regular(const Tail& tail, std::int32_t stride) {
  const auto [low, high] = std::minmax_element(tail.gaps.begin(), tail.gaps.end());
  std::int32_t rise_min = tail.steps.front().value - tail.base_value, rise_max = rise_min;
  for (std::size_t i = 1; i < tail.steps.size(); ++i) {
    const std::int32_t rise = tail.steps[i].value - tail.steps[i - 1].value;
    rise_min = std::min(rise_min, rise);
    rise_max = std::max(rise_max, rise);
  }
  return *high <= 1.5 * *low + 2.0 * stride && rise_max <= 3 * rise_min;
}

// Laplace's trend test: the mean of the steps' times against the middle of the span, in standard deviations. Falling
// pace (a pool) comes out negative, the tail of a fluctuating series (whose suffix minima crowd at the end) positive.
bool steady(const Tail& tail, std::int32_t now) {
  const double span = now - tail.steps.front().since;
  double mean = 0;
  for (std::size_t i = 1; i < tail.steps.size(); ++i) mean += tail.steps[i].since - tail.steps.front().since;
  const auto n = static_cast<double>(tail.steps.size() - 1);
  mean /= n;
  const double laplace = (mean - span / 2) / (span * std::sqrt(1 / (12 * n)));
  const double longest = *std::max_element(tail.gaps.begin(), tail.gaps.end());
  return laplace > -0.7 && laplace < 1.3 && longest <= 0.35 * span;
}

}  // namespace

std::optional<LeakProof> sparse_leak(const SuffixMinima& minima, const std::vector<Count>& points, ClassId class_id,
                                     std::int32_t now) {
  const auto& levels = minima.levels();
  if (levels.size() < kStepsSlow + 1 || now - levels[1].since < kSparseSpan) return std::nullopt;
  // A step counts once it has been held for half of the usual distance between steps.
  std::size_t end = levels.size();
  {
    std::vector<double> gaps;
    for (std::size_t i = std::max<std::size_t>(2, end - std::min<std::size_t>(end - 1, 16)); i < end; ++i) {
      gaps.push_back(levels[i].since - levels[i - 1].since);
    }
    const double hold = gaps.empty() ? 0 : median_of(gaps) / 2;
    while (end > 1 && now - levels[end - 1].since < hold) --end;
  }
  const std::size_t steps_all = end - 1;
  const std::int32_t stride = stride_of(points, class_id);
  const auto tries = [&](std::size_t count) -> std::optional<LeakProof> {
    const Tail tail = tail_of(levels, end, count);
    const std::int32_t span = now - tail.steps.front().since;
    const double median_gap = median_of(tail.gaps);
    const double since_last = now - tail.steps.back().since;
    if (span < kSparseSpan) return std::nullopt;
    const double longest = *std::max_element(tail.gaps.begin(), tail.gaps.end());
    if (since_last > 1.5 * longest + stride) return std::nullopt;  // it has stopped: a pool that is full
    const bool slow = median_gap >= kSlowGap;
    const bool is_regular = count >= (slow ? kStepsSlow : kStepsFast) && regular(tail, stride);
    if (!is_regular && !(count >= kStepsIrregular && steady(tail, now))) return std::nullopt;
    const std::int32_t rise = tail.steps.back().value - tail.base_value;
    if (rise < largest_fall(points, class_id, tail.steps.front().since - span) + 3) return std::nullopt;
    LeakProof proof;
    proof.rule = is_regular ? "periodic" : "steady";
    const double run = tail.steps.back().since - tail.steps.front().since;
    proof.rate = (tail.steps.back().value - tail.steps.front().value) / run;
    std::vector<double> rises{static_cast<double>(tail.steps.front().value - tail.base_value)};
    for (std::size_t i = 1; i < count; ++i) rises.push_back(tail.steps[i].value - tail.steps[i - 1].value);
    proof.step = median_of(rises);
    proof.since_iteration = tail.steps.front().since;
    proof.window_first = tail.steps.front().since;
    proof.window_last = now;
    proof.points = static_cast<int>(count);
    proof.gap_min = static_cast<std::int64_t>(*std::min_element(tail.gaps.begin(), tail.gaps.end()));
    proof.gap_max = static_cast<std::int64_t>(longest);
    proof.classes = {class_id};
    return proof;
  };
  for (const std::size_t count : {kStepsSlow, kStepsFast}) {
    if (steps_all < count) return std::nullopt;
    if (auto proof = tries(count)) return proof;
  }
  for (std::size_t count = kStepsIrregular; count <= steps_all; count += count / 2) {
    if (auto proof = tries(count)) return proof;
  }
  return std::nullopt;
}

}  // namespace migsoak::detect
