#include "detect/trend.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace migsoak::detect {

namespace {

constexpr std::size_t kBinsMax = 48;
constexpr std::size_t kPointsMin = 12;
constexpr std::size_t kClassPointsMin = 4;

// Mann-Kendall alone raises false alarms on memory (Machida 2013), so its bar is high and not the only one.
constexpr double kSignificanceMin = 4;
constexpr double kSignalToNoiseMin = 8;
constexpr double kPartMin = 0.5;  // of the whole slope, in every third: a pool that fills up falls below in the last

struct Bin {
  double x, y;
};

double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

// One base for all classes: the median of each is taken away.
std::vector<Bin> aligned(std::span<const TrendPoint> points) {
  std::map<ClassId, std::vector<double>> by_class;
  for (const TrendPoint& point : points) by_class[point.class_id].push_back(point.value);
  std::size_t largest = 0;
  double level = 0;
  std::map<ClassId, double> base;
  for (auto& [class_id, values] : by_class) {
    if (values.size() < kClassPointsMin) continue;
    base[class_id] = median(values);
    if (values.size() > largest) {
      largest = values.size();
      level = base[class_id];
    }
  }
  std::vector<Bin> out;
  out.reserve(points.size());
  for (const TrendPoint& point : points) {
    const auto own = base.find(point.class_id);
    if (own != base.end()) out.push_back({static_cast<double>(point.iteration), point.value - own->second + level});
  }
  return out;
}

std::vector<Bin> binned(const std::vector<Bin>& points) {
  if (points.size() <= kBinsMax) return points;
  std::vector<Bin> out;
  for (std::size_t bin = 0; bin < kBinsMax; ++bin) {
    const std::size_t begin = bin * points.size() / kBinsMax, end = (bin + 1) * points.size() / kBinsMax;
    std::vector<double> ys;
    double x = 0;
    for (std::size_t i = begin; i < end; ++i) {
      x += points[i].x;
      ys.push_back(points[i].y);
    }
    out.push_back({x / static_cast<double>(end - begin), median(ys)});
  }
  return out;
}

double theil_sen(std::span<const Bin> bins, double* concordance = nullptr) {
  std::vector<double> slopes;
  slopes.reserve(bins.size() * bins.size() / 2);
  double s = 0;
  for (std::size_t i = 0; i < bins.size(); ++i) {
    for (std::size_t j = i + 1; j < bins.size(); ++j) {
      if (bins[j].x <= bins[i].x) continue;
      slopes.push_back((bins[j].y - bins[i].y) / (bins[j].x - bins[i].x));
      s += bins[j].y > bins[i].y ? 1 : bins[j].y < bins[i].y ? -1 : 0;
    }
  }
  if (concordance != nullptr) *concordance = s;
  return slopes.empty() ? 0 : median(slopes);
}

}  // namespace

std::optional<Trend> fit_trend(std::span<const TrendPoint> points) {
  const std::vector<Bin> bins = binned(aligned(points));
  if (bins.size() < kPointsMin) return std::nullopt;
  Trend trend;
  double s = 0;
  trend.slope = theil_sen(bins, &s);
  trend.span = bins.back().x - bins.front().x;
  const auto n = static_cast<double>(bins.size());
  // Without the correction for ties, which only makes the test stricter.
  const double deviation = std::sqrt(n * (n - 1) * (2 * n + 5) / 18);
  trend.significance = s > 0 ? (s - 1) / deviation : s < 0 ? (s + 1) / deviation : 0;
  std::vector<double> intercepts;
  for (const Bin& bin : bins) intercepts.push_back(bin.y - trend.slope * bin.x);
  const double intercept = median(intercepts);
  std::vector<double> rest;
  for (const Bin& bin : bins) rest.push_back(std::abs(bin.y - trend.slope * bin.x - intercept));
  trend.noise = 1.4826 * median(rest);
  trend.iteration_mid = (bins.front().x + bins.back().x) / 2;
  trend.value_mid = intercept + trend.slope * trend.iteration_mid;
  const std::span<const Bin> all(bins);
  const std::size_t third = bins.size() / 3;
  trend.parts[0] = theil_sen(all.subspan(0, third));
  trend.parts[1] = theil_sen(all.subspan(third, third));
  trend.parts[2] = theil_sen(all.subspan(bins.size() - third));
  return trend;
}

bool steady_growth(const Trend& trend, double slope_min) {
  if (!(trend.slope > 0) || trend.slope < slope_min || trend.significance < kSignificanceMin) return false;
  if (trend.slope * trend.span < kSignalToNoiseMin * trend.noise) return false;
  return std::all_of(std::begin(trend.parts), std::end(trend.parts),
                     [&](double part) { return part >= kPartMin * trend.slope; });
}

}  // namespace migsoak::detect
