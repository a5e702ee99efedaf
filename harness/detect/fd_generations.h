// Inside fd-leak: growth from one exec generation to the next.
//
// A lineage that mixes modes replaces its QEMU's process now and then, and everything that execs left open goes with
// it: a series over all iterations never grows. Compared with the generation before it in the same pid, each exec shows
// what it loses.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>

#include "detect/staircase.h"

namespace migsoak::detect {

// Execs that must agree before they prove a leak; as many as the dense tests ask of iterations.
inline constexpr int kExecSteps = kDenseWindow;

// One kind of descriptor in the QEMUs of one lineage.
class ExecSteps {
 public:
  // A quiet point of an image that an exec made: generation > 0. `pid_life` tells processes apart.
  void add(std::int64_t pid_life, int generation, std::int32_t iteration, std::int32_t value, ClassId class_id);
  // What comes next can't be compared with what was before: another device set, a failed attempt.
  void cut() { anchors_.clear(); }
  // rule "exec-generation"; its rate is per exec.
  std::optional<LeakProof> proof() const;

 private:
  struct Anchor {
    int generation;
    std::int32_t value;
  };
  struct Step {
    std::int32_t iteration, rise;
    int generations;
    ClassId class_id;
  };
  std::int64_t pid_life_ = 0;
  std::map<ClassId, Anchor> anchors_;
  std::deque<Step> steps_;  // the last kExecSteps
};

}  // namespace migsoak::detect
