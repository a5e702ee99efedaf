// Waiting for what no descriptor tells: what /proc shows. Only where no event loop may run, because its handlers would
// change what is being looked at, or there is none (the guardian); everyone else waits with Reactor::run_until.
#pragma once

#include <chrono>
#include <functional>

#include "base/deadline.h"

namespace migsoak::proc {

// Looks at once and then every `every` until there() holds, up to the deadline. What the last look said.
bool look_until(const std::function<bool()>& there, base::Deadline deadline,
                std::chrono::milliseconds every = std::chrono::milliseconds(2));

}  // namespace migsoak::proc
