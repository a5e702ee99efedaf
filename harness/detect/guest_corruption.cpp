// guest-corruption: guest RAM that does not hold what the guest wrote, and a guest kernel or agent that died of it.
#include <fmt/format.h>

#include "detect/catalog.h"
#include "detect/event_text.h"
#include "detect/finding_set.h"

namespace migsoak::detect {

namespace {

// "[    2.345678] Kernel panic" -> "Kernel panic": how wide the time stamp is differs from run to run.
std::string without_time(const std::string& line) {
  const std::size_t close = line.find("] ");
  return !line.empty() && line.front() == '[' && close != std::string::npos && close < 20 ? line.substr(close + 2)
                                                                                          : line;
}

class GuestCorruption final : public FindingSetDetector {
 public:
  GuestCorruption() : FindingSetDetector("guest-corruption") {}

 private:
  void fold(const record::Observation& observation) override {
    for (const record::Event& event : observation.events) {
      if (event.kind == kinds::kGuestCorruption) take_ram(observation, event);
      if (event.kind == kinds::kGuestPanic) take_panic(observation, event);
    }
  }

  void take_ram(const record::Observation& observation, const record::Event& event) {
    const std::int64_t stale = detail_int(event, "pages_stale"), misplaced = detail_int(event, "pages_misplaced"),
                       garbage = detail_int(event, "pages_garbage");
    const std::int64_t bad = detail_int(event, "pages_bad", stale + misplaced + garbage);
    const std::string kind = garbage > 0     ? "ram-garbage"
                             : misplaced > 0 ? "ram-misplaced"
                             : stale > 0     ? "ram-stale"
                                             : "ram";
    const auto reported = found_.report(observation.iteration, "guest", kind, "");
    if (!reported.fresh) return;
    reported.finding.title = fmt::format(
        "guest RAM is wrong after the migration of iteration {} ({} to {}): {} pages ({} stale, {} misplaced, {} "
        "garbage)",
        observation.iteration, observation.plan.source_side, observation.plan.destination_side, bad, stale, misplaced,
        garbage);
    note(reported.finding, observation, event);
  }

  void take_panic(const record::Observation& observation, const record::Event& event) {
    // The console's last lines hold the alarm somewhere; the first that matches the catalogue names the panic.
    std::string line = base::printable(event.text);
    const base::Json lines = base::json_get(event.detail, "lines", base::Json::array());
    for (const base::Json& candidate : lines.is_array() ? lines : base::Json::array()) {
      if (!candidate.is_string() || signature_of(candidate.get<std::string>(), true) == nullptr) continue;
      line = without_time(base::printable(candidate.get<std::string>()));
      break;
    }
    const auto reported = found_.report(observation.iteration, "guest", "panic", line);
    if (!reported.fresh) return;
    reported.finding.title = fmt::format("the guest died in iteration {} ({} to {}): {}", observation.iteration,
                                         observation.plan.source_side, observation.plan.destination_side, line);
    note(reported.finding, observation, event);
  }

  static void note(record::Finding& finding, const record::Observation& observation, const record::Event& event) {
    finding.evidence["detail"] = event.detail;
    finding.evidence["phase"] = event.phase;
    finding.evidence["from"] = observation.plan.source_side;
    finding.evidence["to"] = observation.plan.destination_side;
    finding.evidence["mode"] = observation.plan.mode;
  }
};

}  // namespace

std::unique_ptr<Detector> make_guest_corruption(const record::Manifest&) {
  return std::make_unique<GuestCorruption>();
}

}  // namespace migsoak::detect
