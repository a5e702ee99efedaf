// Planner: the plan of iteration N from scenario, seed and N alone. Pure: no clock, no state, no I/O.
#pragma once

#include "engine/scenario.h"
#include "record/plan.h"

namespace migsoak::engine {

record::Plan plan_iteration(const Scenario& scenario, std::int64_t iteration);

}  // namespace migsoak::engine
