// Planner: the plan of iteration N, from scenario, seed and N alone. No clock, no history of what really happened.
#pragma once

#include <memory>

#include "plan/device_plan.h"
#include "plan/route_plan.h"
#include "record/plan.h"
#include "scenario/scenario.h"

namespace migsoak::plan {

using scenario::Scenario;
class Planner {
 public:
  explicit Planner(const Scenario& scenario);  // borrowed

  // In any order; one after another is cheapest, since hotplug histories are folded from the lineage's beginning.
  record::Plan plan(std::int64_t iteration);
  // What the plan has the guest hold when that iteration begins.
  hypervisor::DeviceSet devices_before(std::int64_t iteration);
  // Steps that the iteration planned last could not take.
  const std::vector<UndoneStep>& undone_steps() const;
  // The lineage that this iteration belongs to by plan begins here.
  std::int64_t lineage_begin(std::int64_t iteration) const;

 private:
  record::Plan without_operations(std::int64_t iteration, base::Rng& rng);
  bool leaves_first_side(std::int64_t iteration);
  std::string draw_failure(const record::Plan& plan, base::Rng& rng) const;
  record::Plan make(std::int64_t iteration);
  static void fit_to_mode(record::Plan& plan);
  void fold_to(std::int64_t iteration);

  const Scenario& scenario_;
  RoutePlan route_;
  std::unique_ptr<OperationPlanner> operations_;
  std::int64_t folded_begin_ = -1;  // the lineage that is being folded
  std::int64_t folded_ = 0;         // the next iteration to fold
  record::Plan last_;
};

record::Plan plan_iteration(const Scenario& scenario, std::int64_t iteration);

}  // namespace migsoak::plan
