// The parts that this test executable plays when a test starts it.
#pragma once

#include <string>
#include <vector>

namespace migsoak::proc {

// "report-fds": prints its descriptors, one number a line.
// "harness FILE": a small harness; starts a "stray", writes its level, its run directory, and the pids of everything to
//   FILE, then waits to be killed.
// "stray": leaves a double-forked grandchild in a session of its own; both wait to be killed.
int play_role(const std::vector<std::string>& arguments);

}  // namespace migsoak::proc
