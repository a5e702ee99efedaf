// Internal to store: what a series is called.
#pragma once

#include <compare>
#include <string>

namespace migsoak::store {

// One value of Observation::samples in terms of the dictionaries.
struct SeriesKey {
  std::string subject, metric;
  int lane = 0;
  int ordinal = 0;
  auto operator<=>(const SeriesKey&) const = default;
};

}  // namespace migsoak::store
