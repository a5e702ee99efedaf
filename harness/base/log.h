// The harness's own diagnostics (stderr). What belongs to a run goes into the record, not here.
#pragma once

#include <spdlog/spdlog.h>

namespace migsoak::base {
// Sets level from MIGSOAK_LOG (trace|debug|info|warn|error), default warn; output on stderr, no colours off a terminal.
void init_log();
}  // namespace migsoak::base
