// orphan: a process of the topology that outlived its parent or its iteration, re-parented or not (case 3c of
// cases.md).
#include <fmt/format.h>

#include <algorithm>

#include "detect/event_text.h"
#include "detect/finding_set.h"

namespace migsoak::detect {

namespace {

class Orphan final : public FindingSetDetector {
 public:
  Orphan() : FindingSetDetector("orphan") {}

 private:
  void fold(const record::Observation& observation) override {
    for (const record::Event& event : observation.events) {
      if (event.kind != kinds::kOrphan) continue;
      const std::string command = detail_text(event, "command");
      const std::string descent = detail_text(event, "descends_from");
      const std::string process = !event.subject.empty() ? event.subject : descent;
      const double age_ms = base::json_get<double>(event.detail, "age_ms", 0);
      const bool reparented = base::json_get<bool>(event.detail, "reparented", false);
      const auto reported = found_.report(observation.iteration, process, "process", command);
      record::Finding& finding = reported.finding;
      if (reported.fresh) {
        const auto generation = base::json_get<std::int64_t>(event.detail, "generation", 0);
        std::string ancestor = process.empty() ? "the topology" : process;
        if (generation > 0) ancestor += fmt::format(", exec generation {}", generation);
        finding.title =
            fmt::format("{} (a descendant of {}) outlived {}: an orphan, {} old, since iteration {}",
                        command.empty() ? "a process" : command, ancestor, reparented ? "its parent" : "its iteration",
                        duration_words(age_ms), observation.iteration);
        if (generation > 0) finding.evidence["generation"] = generation;
        finding.evidence["command"] = command;
        finding.evidence["descends_from"] = process;
        finding.evidence["reparented"] = reparented;
        finding.evidence["first"] = event.detail;
      }
      finding.evidence["age_ms_max"] = std::max(age_ms, base::json_get<double>(finding.evidence, "age_ms_max", 0));
    }
  }
};

}  // namespace

std::unique_ptr<Detector> make_orphan(const record::Manifest&) {
  return std::make_unique<Orphan>();
}

}  // namespace migsoak::detect
