// downtime: the guest was silent for longer than [gate] allows, as its clients see it or as QEMU reports it.
#include <fmt/format.h>

#include <algorithm>

#include "detect/catalog.h"
#include "detect/event_text.h"
#include "detect/finding_set.h"

namespace migsoak::detect {

namespace {

class Downtime final : public FindingSetDetector {
 public:
  explicit Downtime(const record::GatePolicy& gate)
      : FindingSetDetector("downtime"),
        guest_ms_max_(gate_limit(gate, "downtime_ms_max")),
        qemu_ms_max_(gate_limit(gate, "qemu_downtime_ms_max")) {}

 private:
  void fold(const record::Observation& observation) override {
    if (observation.status == record::IterationStatus::unknown) return;
    for (const record::Sample& sample : observation.samples) {
      if (sample.subject == "guest" && sample.metric == "heartbeat_gap_ms" && sample.value > guest_ms_max_) {
        take(observation, "guest", "was silent for", sample.value, guest_ms_max_, "downtime_ms_max");
      } else if (sample.subject == "migration" && sample.metric == "downtime_ms" && sample.value > qemu_ms_max_) {
        take(observation, "qemu", "was paused by QEMU for", sample.value, qemu_ms_max_, "qemu_downtime_ms_max");
      }
    }
  }

  void take(const record::Observation& observation, const std::string& kind, const char* what, double value_ms,
            double limit_ms, const char* limit) {
    const auto reported = found_.report(observation.iteration, "guest", kind, "");
    record::Finding& finding = reported.finding;
    const double worst_ms = base::json_get<double>(finding.evidence, "worst_ms", 0);
    if (value_ms <= worst_ms) return;
    finding.title =
        fmt::format("the guest {} {} in iteration {} ({}, {} to {}); {} is {}", what, duration_words(value_ms),
                    observation.iteration, observation.plan.mode, observation.plan.source_side,
                    observation.plan.destination_side, limit, duration_words(limit_ms));
    finding.evidence["worst_ms"] = value_ms;
    finding.evidence["worst_iteration"] = observation.iteration;
    finding.evidence["limit_ms"] = limit_ms;
    finding.evidence["limit"] = limit;
  }

  double guest_ms_max_, qemu_ms_max_;
};

}  // namespace

std::unique_ptr<Detector> make_downtime(const record::Manifest& manifest) {
  return std::make_unique<Downtime>(manifest.gate);
}

}  // namespace migsoak::detect
