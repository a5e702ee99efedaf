// Finding the processes of a run. Internal to proc: shared by the harness's side and the guardian.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace migsoak::proc {

inline constexpr const char* kRunMarker = "MIGSOAK_RUN";

// `root`'s descendants, parents before children, without `root`.
std::vector<pid_t> descendants_of(pid_t root);
// Whether the environment that `pid` was started with holds MIGSOAK_RUN=<run_id>; false for a zombie.
bool has_marker(pid_t pid, const std::string& run_id);
// All processes of the machine that we may look into and that carry the marker.
std::vector<pid_t> marked_processes(const std::string& run_id);

}  // namespace migsoak::proc
