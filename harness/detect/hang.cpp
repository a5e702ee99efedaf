// hang: something did not answer by its deadline.
#include <fmt/format.h>

#include "detect/event_text.h"
#include "detect/finding_set.h"

namespace migsoak::detect {

namespace {

class Hang final : public FindingSetDetector {
 public:
  Hang() : FindingSetDetector("hang") {}

 private:
  void fold(const record::Observation& observation) override {
    for (const record::Event& event : observation.events) {
      if (event.kind != kinds::kHang) continue;
      std::string waiting_for = detail_text(event, "waiting_for");
      if (waiting_for.empty()) waiting_for = event.text;
      const auto reported = found_.report(observation.iteration, event.subject, event.phase, waiting_for);
      if (!reported.fresh) continue;
      record::Finding& finding = reported.finding;
      finding.title =
          fmt::format("{} hung in iteration {}{}: no {} within {}", event.subject.empty() ? "something" : event.subject,
                      observation.iteration, event.phase.empty() ? "" : ", phase " + event.phase,
                      waiting_for.empty() ? "answer" : waiting_for,
                      duration_words(base::json_get<double>(event.detail, "waited_ms", 0)));
      finding.evidence["detail"] = event.detail;
      finding.evidence["phase"] = event.phase;
      finding.evidence["at_ms"] = event.at_ms;
    }
  }
};

}  // namespace

std::unique_ptr<Detector> make_hang(const record::Manifest&) {
  return std::make_unique<Hang>();
}

}  // namespace migsoak::detect
