// zombie: a child that ended and whose parent never waited for it (case 3c of cases.md).
#include <fmt/format.h>

#include <algorithm>

#include "detect/event_text.h"
#include "detect/finding_book.h"

namespace migsoak::detect {

namespace {

class Zombie final : public BookDetector {
 public:
  Zombie() : BookDetector("zombie") {}

 private:
  void fold(const record::Observation& observation) override {
    for (const record::Event& event : observation.events) {
      if (event.kind != kinds::kZombie) continue;
      const std::string command = detail_text(event, "command");
      const double age_ms = base::json_get<double>(event.detail, "age_ms", 0);
      const auto strike = book_.strike(observation.iteration, event.subject, "child", command);
      record::Finding& finding = strike.finding;
      if (strike.fresh) {
        std::string parent = detail_text(event, "parent_command");
        if (parent.empty()) parent = detail_text(event, "parent");
        finding.title = fmt::format("{}{} did not wait for its child {}: a zombie, {} old, since iteration {}",
                                    event.subject, parent.empty() || parent == event.subject ? "" : " (" + parent + ")",
                                    command.empty() ? "?" : command, duration_words(age_ms), observation.iteration);
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
