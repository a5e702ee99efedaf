#include "record/run_end.h"

namespace migsoak::record {

bool came_to_its_end(const RunEnd& end) {
  if (end.reason == end_reason::kFinished || end.reason == end_reason::kDurationOver) return true;
  // Whoever stopped it came too late.
  return end.reason.starts_with(end_reason::kStopped) && end.finished + end.left_out >= end.planned;
}

Verdict verdict_of_run(const RunEnd& end, Verdict judged) {
  if (judged == Verdict::fail) return Verdict::fail;
  return came_to_its_end(end) ? judged : Verdict::unknown;
}

std::string why_unfinished(const RunEnd& end) {
  if (came_to_its_end(end)) return "";
  if (end.reason.empty()) return "the run has no end on record: it is still going on, or was killed";
  if (end.reason == end_reason::kInterrupted) return "the run was interrupted";
  const auto rest_after = [&end](const std::string& prefix) { return end.reason.substr(prefix.size()); };
  if (end.reason.starts_with(end_reason::kHarness)) {
    return "the harness or its environment failed: " + rest_after(end_reason::kHarness);
  }
  if (end.reason.starts_with(end_reason::kStopped)) return "the run was stopped: " + rest_after(end_reason::kStopped);
  return "the run ended before its plan did: " + end.reason;
}

}  // namespace migsoak::record
