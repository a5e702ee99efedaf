// Internal to probes: whose descendant a process is, once it no longer hangs below its ancestor.
//
// Asked in this order:
//   1. it was seen in a subject's tree;
//   2. the mark: adopt() gives each process of the topology a value of RLIMIT_LOCKS of its own (lane and process id),
//      which fork and exec
//      hand down (getrlimit(2)), through setsid, an emptied environment and closed descriptors. Linux has ignored that
//      limit since 2.4.25, so it changes nothing for the subject;
//   3. its process group or session belongs to a process that was seen;
//   4. MIGSOAK_PROCESS in its environment.
#pragma once

#include <string>
#include <utility>

#include "probes/state.h"

namespace migsoak::probes {

void remember(ProbeState::Impl& state, const Subject& subject, const proc::ProcStat& stat);

// The exec generation that a process below `subject` descends from: the one below which it was first seen, else the one
// whose mark it bears. Name and process id of an instance with the pid of `subject`.
std::pair<std::string, std::int64_t> generation_of_child(const ProbeState::Impl& state, const Subject& subject,
                                                         const proc::ProcStat& child);

// From here on the subject may be replaced by its next generation at any time, and what it forks before adopt() is
// called for that one is the new image's: an image forks at its start, rather than while it is handing over.
void expect_next_generation(ProbeState::Impl& state, const Subject& subject);
// It has come. A no-op when it was not expected.
void found_next_generation(ProbeState::Impl& state, std::int64_t old_process_id, const Subject& next);

// 0 for what no exec made; see adopt_generation().
int generation_of(const ProbeState::Impl& state, std::int64_t process_id);

// Name and process id (0 when not known) of the subject; "unknown" when nothing tells.
std::pair<std::string, std::int64_t> origin_of(const Scene& scene, const ProbeState::Impl& state,
                                               const proc::ProcStat& stat);

// Does it bear the mark of a subject that it is not itself?
bool descends_by_mark(const ProbeState::Impl& state, pid_t pid);

// Does it bear the mark of a process that another lane has started?
bool is_of_another_lane(const ProbeState::Impl& state, pid_t pid);

// The subject, alive or gone, whose pid (as it sees itself, inside its PID namespace, or as the host does) is a number
// in `file_name`: "leftover.4711.0". Null when none.
const ProbeState::Impl::Ancestor* owner_by_pid_in(const ProbeState::Impl& state, const std::string& file_name);

// Keeps what is remembered of the dead bounded: a soak runs for weeks.
void prune_ancestry(ProbeState::Impl& state);

}  // namespace migsoak::probes
