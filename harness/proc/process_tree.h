// Finding the processes of a run. Internal to proc: shared by the harness's side and the guardian.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace migsoak::proc {

inline constexpr const char* kRunMarker = "MIGSOAK_RUN";

// Whether the environment that `pid` was started with holds MIGSOAK_RUN=<run_id>; `without` where there is none to
// read: of a zombie, of who was started without one, and, for a moment, of everybody in the middle of an exec.
bool has_marker(pid_t pid, const std::string& run_id, bool without = false);
// All processes of the machine that we may look into and that carry the marker.
std::vector<pid_t> marked_processes(const std::string& run_id);
// Numbers as /proc shows them of all processes in our PID namespace that are not dead yet, but us.
std::vector<pid_t> living_in_our_namespace();

}  // namespace migsoak::proc
