// Exact tests on descriptor counts: integers that a clean process gives back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "detect/quiet_point.h"

namespace migsoak::detect {

struct Count {
  std::int32_t iteration;
  std::int32_t value;
  ClassId class_id;
  std::uint16_t context_id;  // of the observation's context alone; see ClassTable::context_of
};

// What a test found. Rates are per iteration, whatever the distance between quiet points of a class.
struct LeakProof {
  std::string rule;  // "exact" | "every-iteration" | "periodic" | "steady" | "exec-generation"
  double rate = 0;
  double step = 0;                   // descriptors per step
  std::int64_t since_iteration = 0;  // the first increase that belongs to it
  std::int64_t window_first = 0, window_last = 0;
  int points = 0;  // quiet points or steps that carry the proof
  std::int64_t gap_min = 1, gap_max = 1;
  std::vector<ClassId> classes;
};

// Quiet points of the dense tests. With one dropped at the start of a life this proves a leak at iteration 8.
inline constexpr int kDenseWindow = 8;

// +k per iteration, exactly, over the last kDenseWindow points (more of them when k < 1), each class by itself.
// `from` : the first iteration that may be used.
std::optional<LeakProof> exact_leak(const std::vector<Count>& points, std::int32_t from);
// More in each of the last points, by similar amounts: a leak per message, where the messages vary.
std::optional<LeakProof> every_iteration_leak(const std::vector<Count>& points, std::int32_t from);

// Suffix minima of a series: level n holds from `since` to the end, and nothing later lies below it. What fluctuates
// and is given back leaves no level; what is never given back leaves one each time. Amortised O(1) per point.
class SuffixMinima {
 public:
  struct Level {
    std::int32_t since;
    std::int32_t value;
  };
  void add(std::int32_t iteration, std::int32_t value);
  // The newest ones: what takes more steps to be proven is no leak at a steady pace.
  const std::vector<Level>& levels() const { return levels_; }
  static constexpr std::size_t kLevelsMax = 4096;

 private:
  std::vector<Level> levels_;
};

// Steps that go on at a steady pace: a leak of one in N iterations. A pool fills up at a falling pace and then stops.
// `points` are those of the whole series, `class_id` selects those of the minima.
std::optional<LeakProof> sparse_leak(const SuffixMinima& minima, const std::vector<Count>& points, ClassId class_id,
                                     std::int32_t now);

}  // namespace migsoak::detect
