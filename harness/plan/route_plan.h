// RoutePlan: which way and how the guest goes in each iteration. A pure function of scenario, seed and index: what an
// edge is declared to do is taken for what it does. Internal to engine.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "record/plan.h"
#include "scenario/scenario.h"

namespace migsoak::plan {

using scenario::EdgeScenario;
using scenario::Scenario;
struct Leg {
  std::size_t source = 0, destination = 0;  // indices into Scenario::sides
  std::string mode;
  std::string expect;   // record::kExpect…
  std::string trouble;  // why there is no such leg; empty: there is
};

// What a mode may do between two sides, by the scenario's edges; none: it is not drawn there.
std::optional<std::string> expected_of(const Scenario& scenario, const std::string& mode, const std::string& from,
                                       const std::string& to);

// The reason that the scenario gives for a plan's declared outcome; empty when there is none.
std::string declared_reason(const Scenario& scenario, const record::Plan& plan);

// Iterations that show what there is in the scenario's route: whatever can follow comes up among them.
std::vector<std::int64_t> telling_iterations(const Scenario& scenario);

class RoutePlan {
 public:
  explicit RoutePlan(const Scenario& scenario) : scenario_(scenario) {}  // borrowed

  // In any order. Where edges are declared a leg follows from the one before it, and one after another is cheapest.
  Leg leg(std::int64_t iteration);
  std::int64_t lineage_begin(std::int64_t iteration) const;

 private:
  std::size_t position(std::int64_t moves) const;
  std::pair<std::size_t, std::size_t> pair_of(std::int64_t iteration) const;
  std::size_t next_side(std::int64_t iteration, std::size_t source, const Leg* before) const;
  Leg make(std::int64_t iteration, const Leg* before) const;
  void draw_mode(Leg& leg, base::Rng& rng, bool must_complete) const;
  const EdgeScenario* edge_at(std::int64_t iteration) const;

  const Scenario& scenario_;
  // Of the lineage that was asked for last, where edges are declared: its first leg and the one worked out last.
  Leg first_, last_;
  std::int64_t begin_ = -1, last_index_ = -1;
};

}  // namespace migsoak::plan
