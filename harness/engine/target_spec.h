// What a scenario's target is started with, in a run and in its rehearsal.
#pragma once

#include <string>

#include "engine/plan_types.h"
#include "target/target.h"

namespace migsoak::engine {

// `side`: that it serves; empty: all. Without a log file.
target::TargetSpec target_spec(const Scenario& scenario, const TargetScenario& target, const std::string& side,
                               const std::string& run_dir);

// The disk image of a device.
std::string image_path(const std::string& run_dir, const std::string& device_id);

}  // namespace migsoak::engine
