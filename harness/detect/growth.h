// GrowthDetector: what memory-growth, thread-leak and mapping-leak share. A series counts as leaking when it goes on
// growing, robustly (trend.h), after the pools have had time to fill (warm-up) and by more than pools explain (bound).
#pragma once

#include <functional>
#include <set>

#include "detect/finding_set.h"
#include "detect/trend.h"

namespace migsoak::detect {

struct GrowthConfig {
  std::string detector;
  std::vector<std::string> metrics;  // the most telling first: it names the finding when several prove it at once
  std::function<bool(const std::string& process, const std::string& metric)> wants;
  double slope_min = 0;           // per iteration
  double pool_max = 0;            // growth that a pool explains; 0: none
  std::int32_t warm_up = 0;       // iterations of a process's life that are left out
  std::int32_t span_min = 0;      // iterations of growth that are asked for
  std::string noun;               // "threads"
  std::string (*amount)(double);  // "128 KiB"
};

class GrowthDetector final : public FindingSetDetector {
 public:
  explicit GrowthDetector(GrowthConfig config);
  std::vector<record::Exclusion> exclusions() const override;
  std::uint64_t revision() const override { return found_.revision() + exclusion_revision_; }

 private:
  struct Series {
    std::vector<TrendPoint> points;
    std::int32_t first_iteration = 0;
    std::int64_t added = 0;
    bool held_back = false, proven = false;
  };
  struct Track {  // one process; all QEMUs of one side in a lineage
    std::int64_t process_id = 0;
    std::map<std::string, Series> series;
    bool reported = false;
  };
  void fold(const record::Observation& observation) override;
  void add_point(Series& series, std::int32_t now, double value, ClassId class_id);
  std::optional<Trend> leaking(Series& series, std::int32_t now);
  std::optional<Trend> grows(const Series& series, std::int32_t from, std::int32_t now) const;
  double grown(const Series& series) const;
  void report(Track& track, const std::string& process, std::int32_t now,
              const std::vector<std::pair<std::string, Trend>>& proofs);

  GrowthConfig config_;
  int lineage_ = -1;
  ClassTable classes_;
  std::map<std::string, Track> tracks_;
  std::int64_t held_back_ = 0;
  std::uint64_t exclusion_revision_ = 0;
};

std::string count_words(double amount);
std::string byte_words(double amount);

}  // namespace migsoak::detect
