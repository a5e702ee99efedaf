// Robust trends of noisy series: Theil-Sen's slope with Mann-Kendall's significance.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "detect/quiet_point.h"

namespace migsoak::detect {

struct TrendPoint {
  std::int32_t iteration;
  float value;  // exact for counts; 2^-24 relative for bytes, far below what matters
  ClassId class_id;
};

struct Trend {
  double slope = 0;                         // per iteration, Theil-Sen
  double significance = 0;                  // Mann-Kendall's z
  double noise = 0;                         // robust standard deviation of what the line leaves over
  double span = 0;                          // iterations from the first to the last point
  double parts[3] = {};                     // slopes of the first, middle and last third
  double value_mid = 0, iteration_mid = 0;  // a point on the line
};

// nullopt for fewer than 12 usable points. Classes are put on one base first: only growth within a class counts.
// Points are binned to at most 48 medians, so the cost is bounded.
std::optional<Trend> fit_trend(std::span<const TrendPoint> points);

// Significant, at least `slope_min`, far above the noise, and going on at a steady pace in every third of the window.
bool steady_growth(const Trend& trend, double slope_min);

}  // namespace migsoak::detect
