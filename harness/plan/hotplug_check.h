// Internal to plan: can what [hotplug] asks for be done at all? Room on the buses, steps that find what they name.
#pragma once

#include "scenario/keys.h"

namespace migsoak::plan {

using scenario::Scenario;
// Plans lineages as a run would. After check_scenario()'s other checks: the scenario must be whole. Kind bad_input;
// the message names file, line, key, the machine type, and what stands in the way.
base::Result<void> check_hotplug_plan(const toml::table& root, const Scenario& scenario);

}  // namespace migsoak::plan
