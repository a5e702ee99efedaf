// What a run that is not whole leaves unsaid.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "gate/lines.h"

namespace migsoak::gate {

namespace {

Line unknown_run(std::string state, std::string reason) {
  return {"run", "run", std::move(state), std::move(reason), record::Verdict::unknown, base::Json::object()};
}

// "412 of 1500 iterations are finished, run 1088 more: the run was interrupted".
std::string short_of_plan(const RunEvidence& run) {
  const record::RunEnd& end = run.end;
  const std::int64_t missing = std::max<std::int64_t>(0, end.planned - end.finished - end.left_out);
  std::string text = fmt::format("{} of {} iterations are finished", end.finished, end.planned);
  if (missing > 0) text += fmt::format(", run {} more", missing);
  return text + ": " + base::printable(record::why_unfinished(end));
}

}  // namespace

std::vector<Line> run_lines(const RunEvidence& run) {
  std::vector<Line> lines;
  if (!record::came_to_its_end(run.end)) {
    lines.push_back(unknown_run("unfinished", short_of_plan(run)));
    lines.back().figures = {{"finished", run.end.finished}, {"planned", run.end.planned}};
  } else if (run.end.finished == 0) {
    lines.push_back(unknown_run("empty", "no iteration was finished"));
  }
  if (run.harness_errors > 0) {
    lines.push_back(unknown_run(
        "harness", fmt::format("the harness or its environment failed {}: {}",
                               run.harness_errors == 1 ? "once" : fmt::format("{} times, first", run.harness_errors),
                               base::printable(run.first_harness_error, 300))));
  }
  if (run.untold > 0) {
    lines.push_back(unknown_run("untold", fmt::format("of {} iterations nothing can be said", run.untold)));
  }
  for (const report::ReadCount& read : run.reads) {
    if (read.missed() == 0) continue;
    Line& line = lines.emplace_back();
    line.about = "read";
    line.name = base::printable(read.name);
    line.state = "missed";
    line.reason = report::missed_text(read) + "; without it nothing is known by: " + base::printable(read.detectors);
    line.figures = {{"wanted", read.wanted}, {"done", read.done}};
  }
  // A verdict that today's eyes see no reason for is still not a pass.
  if (lines.empty() && run.recorded == record::Verdict::unknown) {
    lines.push_back(unknown_run("unknown", "the run ended as unknown: " + base::printable(run.end.reason, 300)));
  }
  return lines;
}

}  // namespace migsoak::gate
