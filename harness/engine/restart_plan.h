// Which targets are restarted in an iteration.
#pragma once

#include "base/rng.h"
#include "engine/scenario.h"
#include "record/plan.h"

namespace migsoak::engine {

// Adds the restarts of `plan.iteration` to a plan whose mode is decided. Draws only for a scenario that has such: plans
// of others stay what they were.
void plan_restarts(const Scenario& scenario, base::Rng& rng, record::Plan& plan);

// device.reconnect_ms of a vhost-user disk that is plugged: that of the [[device]]s on the same target. 0: none.
int reconnect_ms_of_plugged(const Scenario& scenario);

}  // namespace migsoak::engine
