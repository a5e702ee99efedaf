#include "detect/growth.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "detect/catalog.h"

namespace migsoak::detect {

namespace {
constexpr std::size_t kPointsMax = 4096;
// Iterations. Growth has to show in every third of it, so that a pool of 60 iterations that fills late never covers it.
constexpr std::int32_t kWindow = 120;
constexpr std::size_t kSeriesListedMax = 40;
constexpr std::int64_t kHeldBackEvery = 8;  // points between looks at what only a warm-up or bound holds back

float median_of_three(float a, float b, float c) {
  return std::max(std::min(a, b), std::min(std::max(a, b), c));
}
}  // namespace

std::string count_words(double amount) {
  return std::abs(amount - std::round(amount)) < 0.05 ? fmt::format("{:.0f}", amount) : fmt::format("{:.2g}", amount);
}

std::string byte_words(double amount) {
  if (amount >= 10 * 1024 * 1024) return fmt::format("{:.0f} MiB", amount / (1024 * 1024));
  if (amount >= 1024 * 1024) return fmt::format("{:.1f} MiB", amount / (1024 * 1024));
  return fmt::format("{:.0f} KiB", amount / 1024);
}

GrowthDetector::GrowthDetector(GrowthConfig config) : FindingSetDetector(config.detector), config_(std::move(config)) {}

std::vector<record::Exclusion> GrowthDetector::exclusions() const {
  if (held_back_ == 0) return {};
  return {exclusion_of("pool-warm-up", config_.detector, held_back_)};
}

void GrowthDetector::fold(const record::Observation& observation) {
  if (observation.lineage != lineage_) {
    tracks_.clear();
    lineage_ = observation.lineage;
  }
  const QuietPoint quiet(observation);
  if (!quiet.reached()) return;
  const auto now = static_cast<std::int32_t>(observation.iteration);
  std::set<std::string> touched;
  for (const record::Sample& sample : observation.samples) {
    if (sample.process_id == 0) continue;
    if (std::find(config_.metrics.begin(), config_.metrics.end(), sample.metric) == config_.metrics.end()) continue;
    if (!config_.wants(sample.subject, sample.metric) || !quiet.comparable(sample.subject)) continue;
    Track& track = tracks_[sample.subject];
    if (track.process_id != sample.process_id && !is_qemu(sample.subject)) track = Track{};
    track.process_id = sample.process_id;
    const ClassId class_id = classes_.id_of(observation, sample.subject);
    if (ClassTable::overflowed(class_id)) continue;
    add_point(track.series[sample.metric], now, sample.value, class_id);
    touched.insert(sample.subject);
  }
  for (const std::string& process : touched) {
    Track& track = tracks_[process];
    if (track.reported) continue;
    std::vector<std::pair<std::string, Trend>> proofs;
    for (const std::string& metric : config_.metrics) {
      const auto series = track.series.find(metric);
      if (series == track.series.end() || series->second.points.back().iteration != now) continue;
      if (const auto trend = leaking(series->second, now)) proofs.emplace_back(metric, *trend);
    }
    if (!proofs.empty()) report(track, process, now, proofs);
  }
}

void GrowthDetector::add_point(Series& series, std::int32_t now, double value, ClassId class_id) {
  if (series.points.empty()) series.first_iteration = now;
  if (series.points.size() >= kPointsMax) {
    // Half of the older half goes: trends are fitted to medians, which don't mind.
    std::vector<TrendPoint> kept;
    for (std::size_t i = 0; i < series.points.size(); ++i) {
      if (i >= kPointsMax / 2 || i % 4 < 2) kept.push_back(series.points[i]);  // pairs: both sides of a ping-pong
    }
    series.points = std::move(kept);
  }
  series.points.push_back({now, static_cast<float>(value), class_id});
  ++series.added;
}

// Growth since the life's first quiet points, within the newest point's class: medians of three at both ends.
double GrowthDetector::grown(const Series& series) const {
  const ClassId class_id = series.points.back().class_id;
  std::array<float, 3> first{}, last{};
  std::size_t firsts = 0, lasts = 0;
  for (const TrendPoint& point : series.points) {
    if (point.iteration == series.first_iteration || point.class_id != class_id) continue;
    first[firsts++] = point.value;
    if (firsts == 3) break;
  }
  for (auto point = series.points.rbegin(); point != series.points.rend() && lasts < 3; ++point) {
    if (point->class_id == class_id) last[lasts++] = point->value;
  }
  if (firsts < 3 || lasts < 3) return 0;
  return static_cast<double>(median_of_three(last[0], last[1], last[2])) -
         static_cast<double>(median_of_three(first[0], first[1], first[2]));
}

std::optional<Trend> GrowthDetector::grows(const Series& series, std::int32_t from, std::int32_t now) const {
  const auto begin = std::lower_bound(series.points.begin(), series.points.end(), from,
                                      [](const TrendPoint& point, std::int32_t at) { return point.iteration < at; });
  if (begin == series.points.end() || now - begin->iteration < config_.span_min) return std::nullopt;
  // Cheap look first: has the newest point's class grown by anything that matters? Clean series end here.
  const TrendPoint& newest = series.points.back();
  const auto same = std::find_if(begin, series.points.end(),
                                 [&](const TrendPoint& point) { return point.class_id == newest.class_id; });
  if (newest.value - same->value < 0.5 * config_.slope_min * (now - same->iteration)) return std::nullopt;
  const auto trend = fit_trend({begin, series.points.end()});
  if (!trend || !steady_growth(*trend, config_.slope_min)) return std::nullopt;
  return trend;
}

std::optional<Trend> GrowthDetector::leaking(Series& series, std::int32_t now) {
  const std::int32_t usable = series.first_iteration + config_.warm_up;
  const bool beyond_pool = config_.pool_max <= 0 || grown(series) > config_.pool_max;
  std::optional<Trend> trend;
  if (beyond_pool && now - usable >= config_.span_min) {
    trend = grows(series, std::max(usable, now - kWindow), now);
    // Slow leaks in a noisy series need longer windows; those are looked at less often.
    for (std::int32_t factor = 2; !trend && now - kWindow * (factor / 2) > usable; factor *= 2) {
      if (series.added % (factor * 2) == 0) trend = grows(series, std::max(usable, now - kWindow * factor), now);
    }
  }
  if (trend) {
    if (series.held_back) {
      --held_back_;
      series.held_back = false;
      ++exclusion_revision_;
    }
    return trend;
  }
  // Would it have been reported without warm-up and bound?
  if (!series.held_back && (config_.warm_up > 0 || config_.pool_max > 0) && series.added % kHeldBackEvery == 0 &&
      (now < usable + config_.span_min || !beyond_pool) &&
      grows(series, std::max(series.first_iteration, now - kWindow), now)) {
    series.held_back = true;
    ++held_back_;
    ++exclusion_revision_;
  }
  return std::nullopt;
}

void GrowthDetector::report(Track& track, const std::string& process, std::int32_t now,
                            const std::vector<std::pair<std::string, Trend>>& proofs) {
  track.reported = true;
  const auto& [metric, trend] = proofs.front();
  const Series& series = track.series[metric];
  const auto reported = found_.report(now, process, "", "");
  record::Finding& finding = reported.finding;
  if (!reported.fresh) return;  // a later life of the same process does it again: counted
  // Where the line crosses the level that the life began with.
  const TrendPoint& base = series.points.size() > 1 ? series.points[1] : series.points.front();
  const double crossing = trend.iteration_mid - (trend.value_mid - base.value) / trend.slope;
  const double began = std::clamp(crossing, static_cast<double>(series.first_iteration), static_cast<double>(now));
  finding.kind = metric.substr(0, metric.find("_bytes"));
  finding.first_iteration = static_cast<std::int64_t>(std::llround(began));
  finding.rate_per_iteration = trend.slope;
  finding.title = fmt::format("{} grows by {} {} per iteration since iteration {}, and goes on", process,
                              config_.amount(trend.slope), config_.noun.empty() ? finding.kind : config_.noun,
                              *finding.first_iteration);
  base::Json listed = base::Json::array();
  const std::size_t every = series.points.size() / kSeriesListedMax + 1;
  for (std::size_t i = 0; i < series.points.size(); ++i) {
    if (i % every != 0 && i + 1 != series.points.size()) continue;
    listed.push_back({series.points[i].iteration, static_cast<double>(series.points[i].value)});
  }
  base::Json others = base::Json::object();
  for (std::size_t i = 1; i < proofs.size(); ++i) others[proofs[i].first] = proofs[i].second.slope;
  base::Json& evidence = finding.evidence;
  evidence["metric"] = metric;
  evidence["series"] = listed;
  evidence["base"] = static_cast<double>(base.value);
  evidence["slope_per_iteration"] = trend.slope;
  evidence["slopes_by_third"] = {trend.parts[0], trend.parts[1], trend.parts[2]};
  evidence["significance_z"] = std::round(trend.significance * 10) / 10;
  evidence["noise"] = trend.noise;
  evidence["window"] = {{"first_iteration", now - static_cast<std::int64_t>(std::llround(trend.span))},
                        {"last_iteration", now}};
  evidence["also_growing"] = others;
  evidence["warm_up_iterations"] = config_.warm_up;
  evidence["pool_max"] = config_.pool_max;
  evidence["confidence"] =
      fmt::format("Theil-Sen {} per iteration, Mann-Kendall z = {:.1f}, growing in every third of {:.0f} iterations",
                  config_.amount(trend.slope), trend.significance, trend.span);
  found_.touch();
}

}  // namespace migsoak::detect
