// Every command line that a run can need is made once before anything starts, with the longest names that
// will occur. What only QEMU's or a target's command line can refuse (ids, number of devices, a socket path too long
// for the kernel) is then bad input, not the surprise of iteration 0 or of the second lane.
#pragma once

#include <string>

#include "engine/plan_types.h"

namespace migsoak::engine {

base::Result<void> check_command_lines(const Scenario& scenario, const std::string& run_dir, int lanes);

}  // namespace migsoak::engine
