// The lanes of a run on threads of their own. An exception in one of them is the harness's failure and stops them all.
#pragma once

#include <functional>

#include "engine/stop_token.h"

namespace migsoak::engine {

// Calls run_lane(0) … run_lane(lanes - 1) side by side, 0 in the calling thread; returns when all have returned.
// That wait has no deadline: lanes have theirs for each step, and what they use belongs to the caller.
void run_side_by_side(int lanes, StopToken& stop, const std::function<void(int lane)>& run_lane);

}  // namespace migsoak::engine
