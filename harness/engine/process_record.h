// How a process of a lineage comes on record, and its end: the same for QEMUs and for targets.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/recorder.h"
#include "hypervisor/machine.h"
#include "proc/child_process.h"
#include "record/journal.h"

namespace migsoak::engine {

// With an id that is new in the run.
record::ProcessInstance register_process(Recorder& recorder, const std::string& name,
                                         const hypervisor::ProcessIdentity& process, const std::string& command,
                                         std::int64_t iteration);

record::ProcessEnd process_end(std::int64_t id, bool expected, const proc::ExitStatus& status,
                               const std::vector<std::string>& last_lines);

// An event, and the end. `status` null: nobody knows it.
void record_unexpected_end(const std::string& name, std::int64_t id, const std::optional<proc::ExitStatus>& status,
                           const std::vector<std::string>& last_lines, record::Journal& journal);

}  // namespace migsoak::engine
