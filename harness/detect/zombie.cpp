// zombie: a child that ended and whose parent never waited for it (case 3c of cases.md).
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "detect/event_text.h"
#include "detect/finding_set.h"

namespace migsoak::detect {

namespace {

class Zombie final : public FindingSetDetector {
 public:
  Zombie() : FindingSetDetector("zombie") {}

 private:
  void fold(const record::Observation& observation) override {
    for (const record::Event& event : observation.events) {
      if (event.kind != kinds::kZombie) continue;
      const std::string command = detail_text(event, "command");
      const double age_ms = base::json_get<double>(event.detail, "age_ms", 0);
      const auto reported = found_.report(observation.iteration, event.subject, "child", command);
      record::Finding& finding = reported.finding;
      if (reported.fresh) {
        std::string parent = detail_text(event, "parent_command");
        if (parent.empty()) parent = detail_text(event, "parent");
        const auto generation = base::json_get<std::int64_t>(event.detail, "generation", 0);
        const auto seen_in = base::json_get<std::int64_t>(event.detail, "seen_in_generation", generation);
        std::vector<std::string> parent_words;
        if (!parent.empty() && parent != event.subject) parent_words.push_back(parent);
        if (generation > 0) parent_words.push_back(fmt::format("exec generation {}", generation));
        const std::string in = parent_words.empty() ? "" : " (" + base::join(parent_words, ", ") + ")";
        const std::string still =
            seen_in > generation ? fmt::format(", still there in exec generation {}", seen_in) : "";
        finding.title =
            fmt::format("{}{} did not wait for its child {}: a zombie, {} old, since iteration {}{}", event.subject, in,
                        command.empty() ? "?" : command, duration_words(age_ms), observation.iteration, still);
        if (generation > 0 || seen_in > 0) finding.evidence["generation"] = generation;
        if (seen_in > generation) finding.evidence["seen_in_generation"] = seen_in;
        finding.evidence["parent"] = event.subject;
        finding.evidence["parent_command"] = parent;
        finding.evidence["command"] = command;
        finding.evidence["first"] = event.detail;
        finding.evidence["phase"] = event.phase;
      }
      finding.evidence["age_ms_max"] = std::max(age_ms, base::json_get<double>(finding.evidence, "age_ms_max", 0));
    }
  }
};

}  // namespace

std::unique_ptr<Detector> make_zombie(const record::Manifest&) {
  return std::make_unique<Zombie>();
}

}  // namespace migsoak::detect
