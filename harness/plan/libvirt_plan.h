// In which way libvirt migrates the guest in one iteration. Internal to plan.
#pragma once

#include "base/rng.h"
#include "record/plan.h"
#include "scenario/scenario.h"

namespace migsoak::plan {

// Draws the plan's way and its transport. What does not go together with what was drawn before it is left out.
void plan_libvirt(const scenario::Scenario& scenario, base::Rng& rng, record::Plan& plan);

}  // namespace migsoak::plan
