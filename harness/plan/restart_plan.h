// Which targets and daemons are restarted in an iteration.
#pragma once

#include "base/rng.h"
#include "record/plan.h"
#include "scenario/scenario.h"

namespace migsoak::plan {

using scenario::Scenario;
// Adds the restarts of `plan.iteration` to a plan whose mode is decided. Draws only for a scenario that has such: plans
// of others stay what they were.
void plan_restarts(const Scenario& scenario, base::Rng& rng, record::Plan& plan);

}  // namespace migsoak::plan
