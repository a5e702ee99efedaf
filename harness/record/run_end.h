// RunEnd: how far a run came and why it ended; what may be said of the whole run then. The only place that decides it:
// the run itself and everything that reads its record ask here.
#pragma once

#include <cstdint>
#include <string>

#include "record/finding.h"

namespace migsoak::record {

// Why a run ended, as the database has it. "stopped: …": by on_loss, --stop-on-finding, too many failures.
namespace end_reason {
inline constexpr const char* kFinished = "finished";
inline constexpr const char* kInterrupted = "interrupted";
inline constexpr const char* kStopped = "stopped: ";
inline constexpr const char* kDurationOver = "stopped: the time given by --duration is over";
inline constexpr const char* kHarness = "harness: ";
}  // namespace end_reason

struct RunEnd {
  std::int64_t planned = 0;   // iterations
  std::int64_t finished = 0;  // of them, on record
  std::int64_t left_out = 0;  // of lineages that were given up, as the scenario says (run.failures_max, pairs)
  std::string reason;         // empty: no end on record, it is still going on or was killed
};

// All that was planned is done, or the time that was given for it is over.
bool came_to_its_end(const RunEnd& end);

// `judged`: what the detectors say of the finished iterations. A run that did not come to its end can fail; it can't
// pass.
Verdict verdict_of_run(const RunEnd& end, Verdict judged);

// "the run was interrupted"; empty when it came to its end. The reason is as it was recorded: not yet printable.
std::string why_unfinished(const RunEnd& end);

}  // namespace migsoak::record
