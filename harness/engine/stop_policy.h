// StopPolicy: whether a lane goes on after an iteration, with the same guest or another, as the scenario says. Knows
// one lane's iterations, one after the other; starts nothing.
#pragma once

#include <cstdint>
#include <string>

#include "engine/plan_types.h"
#include "record/observation.h"

namespace migsoak::engine {

class StopPolicy {
 public:
  explicit StopPolicy(const Scenario& scenario) : scenario_(scenario) {}  // borrowed

  enum class Next {
    go_on,           // a guest that was lost is followed by a fresh one
    leave_out_rest,  // of the lineage
    stop,            // the run
    harness_failed,
  };
  struct Decision {
    Next next = Next::go_on;
    std::string why;
  };

  void begin_lineage() { failures_in_a_row_ = 0; }
  Decision after(const record::Observation& observation);

 private:
  const Scenario& scenario_;
  std::int64_t failures_in_a_row_ = 0;
};

}  // namespace migsoak::engine
