#include "ops/modes/phase_facts.h"

#include <array>

namespace migsoak::ops {

namespace {
constexpr std::array kPhases = {MigrationPhase::setup, MigrationPhase::active, MigrationPhase::pre_switchover,
                                MigrationPhase::device, MigrationPhase::completed};
}  // namespace

std::string to_string(MigrationPhase phase) {
  switch (phase) {
    case MigrationPhase::setup: return "setup";
    case MigrationPhase::active: return "active";
    case MigrationPhase::pre_switchover: return "pre-switchover";
    case MigrationPhase::device: return "device";
    case MigrationPhase::completed: return "completed";
  }
  return "?";
}

std::string to_string(End end) {
  return end == End::source ? "source" : "destination";
}

void PhaseFacts::publish(const PeerStatus& source, MigrationListener& listener) {
  for (std::size_t at = told_; at < kPhases.size(); ++at) {
    if (!source.saw(to_string(kPhases[at]).c_str())) continue;
    told_ = at + 1;
    listener.reached(kPhases[at]);
  }
}

}  // namespace migsoak::ops
