// Deadline: a point on the steady clock by which a blocking call must have answered.
#pragma once

#include <algorithm>
#include <chrono>

namespace migsoak::base {

using Clock = std::chrono::steady_clock;

class Deadline {
 public:
  static Deadline in(std::chrono::milliseconds span) { return Deadline(Clock::now() + span); }
  static Deadline at(Clock::time_point point) { return Deadline(point); }

  Clock::time_point point() const { return point_; }
  bool passed() const { return Clock::now() >= point_; }
  // Never negative.
  std::chrono::milliseconds left() const {
    auto span = std::chrono::duration_cast<std::chrono::milliseconds>(point_ - Clock::now());
    return std::max(span, std::chrono::milliseconds::zero());
  }
  Deadline sooner(Deadline other) const { return point_ < other.point_ ? *this : other; }

 private:
  explicit Deadline(Clock::time_point point) : point_(point) {}
  Clock::time_point point_;
};

inline double milliseconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

// Milliseconds since the Unix epoch (wall clock), for the record only.
inline long long unix_time_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace migsoak::base
