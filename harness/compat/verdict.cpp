#include "compat/verdict.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "compat/byte_reports.h"
#include "compat/value_reports.h"
#include "pci/fields.h"
#include "pci/load_rule.h"

namespace migsoak::compat {

namespace {

bool refused_by_itself(const StateFacts& state, const DeviceFacts* control) {
  const StateFacts* own = control != nullptr ? find_state(*control, state.state) : nullptr;
  return own != nullptr && state.outcome == LoadOutcome::refused && own->outcome == LoadOutcome::refused &&
         refused_offset(*own) == refused_offset(state);
}

// The line does not always name the bit: builds differ in what they print after having taken bits off. What each build
// offers does.
std::string features_refused(const pci::UnsupportedFeatures& features, const DeviceFacts& facts) {
  const std::string type = pci::virtio_type_of(facts.device.driver);
  const std::uint64_t gone = facts.own_virtio_from.features & ~facts.own_virtio_to.features;
  if (features.missing() != 0 || gone == 0) return pci::explain(features, type);
  return fmt::format("virtio features: the destination does not offer {}, which the guest accepted on the source",
                     base::join(pci::virtio_feature_names(gone, type), " "));
}

StateReport state_report(const DeviceFacts& facts, const StateFacts& state) {
  StateReport report;
  report.state = state.state;
  report.outcome = state.outcome;
  report.lines = state.lines;
  if (state.outcome != LoadOutcome::refused) return report;
  for (const std::string& line : state.lines) {
    if (const auto bad = pci::parse_bad_config_data(line)) {
      pci::SideView from{facts.looked_at ? &facts.view.image_from : nullptr, 0};
      pci::SideView to{facts.looked_at ? &facts.view.image_to : nullptr, 0};
      for (const pci::Bar& bar : pci::bars(facts.view.image_from, &facts.view.mask_from)) {
        if (bad->offset >= bar.offset && bad->offset < bar.offset + 4) from.bar_size = bar.size;
      }
      for (const pci::Bar& bar : pci::bars(facts.view.image_to, &facts.view.mask_to)) {
        if (bad->offset >= bar.offset && bad->offset < bar.offset + 4) to.bar_size = bar.size;
      }
      report.decoded = pci::explain(*bad, from, to);
      return report;
    }
    if (const auto features = pci::parse_unsupported_features(line)) {
      report.decoded = features_refused(*features, facts);
      return report;
    }
    if (const auto ring = pci::parse_ring_too_large(line)) {
      report.decoded = pci::explain(*ring);
      return report;
    }
  }
  report.decoded = state.lines.empty() ? "refused without a word" : state.lines.front();
  return report;
}

std::string incompatible_reason(const DeviceReport& report) {
  for (const StateReport& state : report.states) {
    if (state.outcome != LoadOutcome::refused || state.self) continue;
    return fmt::format("{}: {}", to_string(state.state), state.decoded);
  }
  for (const ByteReport& byte : report.bytes) {
    if (byte.breaks) return fmt::format("{}: {}", byte.field, byte.why);
  }
  for (const ValueReport& value : report.values) {
    if (value.breaks) return fmt::format("{}: {}", value.field, value.why);
  }
  return "";
}

}  // namespace

std::string_view to_string(Compatibility compatibility) {
  switch (compatibility) {
    case Compatibility::same: return "same";
    case Compatibility::compatible: return "compatible";
    case Compatibility::incompatible: return "incompatible";
    case Compatibility::unknown: return "unknown";
  }
  return "?";
}

bool wants_control(const DeviceFacts& facts) {
  for (const StateFacts& state : facts.states) {
    for (const ChangedByte& byte : state.changed) {
      if (((byte.before ^ byte.after) & ~byte.excused & 0xff) != 0) return true;
    }
    if (state.outcome != LoadOutcome::refused) continue;
    const std::size_t offset = refused_offset(state);
    const ConfigView& view = facts.view;
    const bool explained = facts.looked_at && offset < view.image_from.size() &&
                           (view.image_from.u8(offset) != view.image_to.u8(offset) ||
                            view.mask_from.u8(offset) != view.mask_to.u8(offset));
    if (!explained) return true;
  }
  return value_changes_unexplained(facts);
}

DeviceReport judge(const DeviceFacts& facts, const DeviceFacts* control) {
  DeviceReport report;
  report.device = facts.device;
  report.path = facts.path;
  report.unknown_to_both = facts.unknown_to_both;
  for (const StateFacts& state : facts.states) {
    report.states.push_back(state_report(facts, state));
    StateReport& one = report.states.back();
    one.self = refused_by_itself(state, control);
    if (one.self) report.self.push_back(fmt::format("{} is refused: {}", to_string(one.state), one.decoded));
  }
  if (facts.looked_at) {
    add_bytes(facts, control, report);
    add_values(facts, control, report);
  }
  const auto any = [&](LoadOutcome outcome) {
    return std::find_if(report.states.begin(), report.states.end(),
                        [&](const StateReport& state) { return state.outcome == outcome && !state.self; });
  };
  const bool breaks =
      std::any_of(report.bytes.begin(), report.bytes.end(), [](const ByteReport& byte) { return byte.breaks; }) ||
      std::any_of(report.values.begin(), report.values.end(), [](const ValueReport& value) { return value.breaks; });
  if (any(LoadOutcome::refused) != report.states.end() || breaks) {
    report.verdict = Compatibility::incompatible;
    report.reason = incompatible_reason(report);
  } else if (!facts.unknown_reason.empty() || report.states.empty()) {
    report.verdict = Compatibility::unknown;
    report.reason = facts.unknown_reason.empty() ? "nothing was tried" : facts.unknown_reason;
  } else if (const auto state = any(LoadOutcome::unknown); state != report.states.end()) {
    report.verdict = Compatibility::unknown;
    report.reason = fmt::format("{}: {}", to_string(state->state),
                                state->lines.empty() ? "no answer" : base::printable(state->lines.front()));
  } else if (!report.self.empty()) {
    report.verdict = Compatibility::unknown;
    report.reason = "not the pair: the source's build does not carry it to itself either: " + report.self.front();
  } else {
    const bool differs = !report.bytes.empty() || !report.values.empty();
    report.verdict = differs ? Compatibility::compatible : Compatibility::same;
  }
  return report;
}

}  // namespace migsoak::compat
