// Restarts of targets that the plan asked for, as an observation tells of them.
#pragma once

#include <string>
#include <vector>

#include "record/manifest.h"
#include "record/observation.h"

namespace migsoak::detect {

// Did the scenario declare, for a target that was restarted in this iteration, that requests end in errors? `disk`: one
// that it serves; empty: any.
bool io_errors_declared(const record::Observation& observation, const std::vector<record::TargetInfo>& targets,
                        const std::string& disk);

// The guest's life ended with its disk, as the scenario declares of a restart that answers with errors.
bool guest_ended_by_restart(const record::Observation& observation);

// What a target says of requests that its predecessor had done and it finds again.
bool tells_of_a_broken_queue(const record::Event& line);

// A line of QEMU, or of the target itself, about a connection that a planned restart of this iteration cut.
bool tells_of_a_restart(const record::Observation& observation, const record::Event& line);

}  // namespace migsoak::detect
