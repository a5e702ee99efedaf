// Internal to probes: whose descendant a process is, once it no longer hangs below its ancestor.
//
// Asked in this order:
//   1. it was seen in a subject's tree;
//   2. the mark: adopt() gives each process of the topology a value of RLIMIT_LOCKS of its own, which fork and exec
//   hand
//      down (getrlimit(2)), through setsid, an emptied environment and closed descriptors. Linux has ignored that limit
//      since 2.4.25, so it changes nothing for the subject;
//   3. its process group or session belongs to a process that was seen;
//   4. MIGSOAK_PROCESS in its environment.
#pragma once

#include <string>
#include <utility>

#include "probes/state.h"

namespace migsoak::probes {

void remember(ProbeState::Impl& state, const Subject& subject, const proc::ProcStat& stat);

// Name and process id (0 when not known) of the subject; "unknown" when nothing tells.
std::pair<std::string, std::int64_t> origin_of(const Scene& scene, const ProbeState::Impl& state,
                                               const proc::ProcStat& stat);

// Does it bear the mark of a subject that it is not itself?
bool descends_by_mark(const ProbeState::Impl& state, pid_t pid);

// The subject, alive or gone, whose pid (as it sees itself, inside its PID namespace, or as the host does) is a number
// in `file_name`: "leftover.4711.0". Null when none.
const ProbeState::Impl::Ancestor* owner_by_pid_in(const ProbeState::Impl& state, const std::string& file_name);

// Keeps what is remembered of the dead bounded: a soak runs for weeks.
void prune_ancestry(ProbeState::Impl& state);

}  // namespace migsoak::probes
