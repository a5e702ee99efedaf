// hang: something did not answer by its deadline.
#include <fmt/format.h>

#include "detect/causes.h"
#include "detect/event_text.h"
#include "detect/finding_set.h"

namespace migsoak::detect {

namespace {

// What the peers of a daemon that hangs ended for it.
base::Json ended_for(const record::Observation& observation, const record::Event& hang) {
  base::Json ends = base::Json::array();
  for (const record::Event& event : observation.events) {
    if (!is_ended_for_hung_daemon(event, hang)) continue;
    const std::string why = detail_text(event, "why");
    ends.push_back(event.subject + " was ended by its libvirtd" + (why.empty() ? "" : ": " + why));
  }
  return ends;
}

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
      if (base::Json ends = ended_for(observation, event); !ends.empty()) finding.evidence["consequences"] = ends;
    }
  }
};

}  // namespace

std::unique_ptr<Detector> make_hang(const record::Manifest&) {
  return std::make_unique<Hang>();
}

}  // namespace migsoak::detect
