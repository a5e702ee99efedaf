// Inside fd-leak: when a process runs out of descriptors, and which axis of the scenario the rate fits.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "base/json.h"
#include "record/manifest.h"

namespace migsoak::detect {

// How a process's descriptors stand, all kinds together.
class FdUsage {
 public:
  // peak: the most descriptors seen within the cycle that ended at this quiet point, when it was sampled.
  // replaced: descriptors that died since the last quiet point; the replaced connection and its successor overlap.
  void note(std::int64_t iteration, std::int64_t total, std::optional<std::int64_t> peak, int replaced);
  void set_limit(std::int64_t limit) { limit_ = limit; }

  std::int64_t limit() const { return limit_; }
  std::int64_t iteration() const { return iteration_; }
  std::int64_t total() const { return total_; }
  // Descriptors that a cycle needs beyond what the quiet point holds.
  std::int64_t headroom() const;
  bool headroom_measured() const { return !measured_.empty(); }
  // The first iteration whose cycle needs more descriptors than the limit allows.
  std::optional<std::int64_t> exhausts_at(double rate_per_iteration) const;

 private:
  std::int64_t limit_ = 0, iteration_ = 0, total_ = 0;
  std::deque<std::int64_t> measured_, estimated_;
};

// Which product of the scenario's axes a rate is: {"devices", "queues", "fits": [...], "text"}; null for what is no
// target or when the rate is no whole number.
base::Json axis_fit(const record::Manifest& manifest, const std::string& process, double rate);

}  // namespace migsoak::detect
