// The guest's CLOCK_MONOTONIC, and absolute sleeps on it.
#pragma once

#include <time.h>

#include <cstdint>

namespace migsoak::agent {

inline std::int64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

inline void sleep_until_ns(std::int64_t point_ns) {
  const timespec point{static_cast<time_t>(point_ns / 1'000'000'000), static_cast<long>(point_ns % 1'000'000'000)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &point, nullptr) != 0) {
  }
}

}  // namespace migsoak::agent
