// Inside fd-leak: growth from one exec generation to the next.
//
// A lineage that mixes modes replaces its QEMU's process now and then, and what its execs left open goes with it: a
// series over all iterations never grows. Two things still show what each exec loses:
//
//   growth within one pid     pid 41, generation 3 holds 20 eventfds, generation 4 holds 21, generation 5 holds 22
//   inherited descriptors     generation 4 has one that is not close-on-exec and that generation 3 did not have at its
//                             last quiet point. QEMU opens everything close-on-exec, and sets that flag again on what
//                             it takes over (migration/cpr-exec.c): a clean chain of 500 has none
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

#include "detect/step_growth.h"

namespace migsoak::detect {

// Execs that must agree before they prove a leak; as many as the dense tests ask of iterations.
inline constexpr int kGenerations = kDenseWindow;

struct InheritedFds {
  std::int32_t count = 0;
  std::string example;  // the detail of one of them
};
// Births of inherited descriptors, by process id and kind.
std::map<std::int64_t, std::map<std::string, InheritedFds>> inherited_in(const record::Observation& observation);

// One kind of descriptor in the QEMUs of one lineage.
class GenerationGrowth {
 public:
  // A quiet point of an image that an exec made: generation > 0. `pid_life` tells processes apart.
  void add(std::int64_t pid_life, int generation, std::int32_t iteration, std::int32_t value, ClassId class_id);
  // InheritedFds of that kind in an image of that name.
  void add_inherited(const std::string& process, std::int32_t iteration, std::int32_t count, ClassId class_id);
  // What comes next can't be compared with what was before: another device set, a failed attempt.
  void cut() { anchors_.clear(); }
  // rule "exec-generation"; its rate is per exec.
  std::optional<LeakProof> proof() const;
  // The same, of the images of one name alone: inherited show which of them began with it.
  std::optional<LeakProof> proof_by_inherited(const std::string& process) const;

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
  std::deque<Step> steps_;  // the last kGenerations
  struct Image {
    std::int32_t iteration, inherited;
    ClassId class_id;
  };
  std::map<std::string, std::deque<Image>> images_;  // by process name, the last kGenerations
};

}  // namespace migsoak::detect
