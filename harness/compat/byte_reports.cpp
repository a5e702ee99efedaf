#include "compat/byte_reports.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/text.h"
#include "pci/fields.h"
#include "pci/load_rule.h"

namespace migsoak::compat {

const StateFacts* find_state(const DeviceFacts& facts, GuestState state) {
  for (const StateFacts& one : facts.states) {
    if (one.state == state) return &one;
  }
  return nullptr;
}

std::size_t refused_offset(const StateFacts& state) {
  for (const std::string& line : state.lines) {
    if (const auto bad = pci::parse_bad_config_data(line)) return bad->offset;
  }
  return std::string::npos;
}

namespace {

struct BarDifference {
  pci::Bar from, to;  // size 0: not there
};

std::map<int, BarDifference> bar_differences(const ConfigView& view) {
  std::map<int, BarDifference> bars;
  for (const pci::Bar& bar : pci::bars(view.image_from, &view.mask_from)) bars[bar.index].from = bar;
  for (const pci::Bar& bar : pci::bars(view.image_to, &view.mask_to)) bars[bar.index].to = bar;
  std::erase_if(bars, [](const auto& entry) {
    const auto& [from, to] = entry.second;
    return from.size == to.size && from.kind == to.kind && from.prefetchable == to.prefetchable;
  });
  return bars;
}

bool changes_itself(GuestState state, const DeviceFacts* control) {
  const StateFacts* own = control != nullptr ? find_state(*control, state) : nullptr;
  return own != nullptr && std::any_of(own->changed.begin(), own->changed.end(), [](const ChangedByte& byte) {
           return ((byte.before ^ byte.after) & ~byte.excused & 0xff) != 0;
         });
}

bool changed_by_itself(GuestState state, std::size_t offset, const DeviceFacts* control) {
  const StateFacts* own = control != nullptr ? find_state(*control, state) : nullptr;
  if (own == nullptr) return false;
  return std::any_of(own->changed.begin(), own->changed.end(), [&](const ChangedByte& byte) {
    return byte.offset == offset && ((byte.before ^ byte.after) & ~byte.excused & 0xff) != 0;
  });
}

std::string outcome_text(const DeviceFacts& facts, GuestState state) {
  const StateFacts* found = find_state(facts, state);
  if (found == nullptr || found->outcome == LoadOutcome::unknown) return "not known";
  return found->outcome == LoadOutcome::refused ? "refused" : "loads, and the BAR silently has another size";
}

std::string bar_why(const DeviceFacts& facts, const BarDifference& difference) {
  const auto& [from, to] = difference;
  if (from.size == 0 || to.size == 0) {
    return fmt::format("the BAR is there on the {} side only", from.size == 0 ? "destination" : "source");
  }
  if (from.size == to.size) {
    return fmt::format("source {}{}, destination {}{}", to_string(from.kind), from.prefetchable ? " prefetchable" : "",
                       to_string(to.kind), to.prefetchable ? " prefetchable" : "");
  }
  return fmt::format("{}: source {:#x} bytes, destination {:#x}; at even multiples of {:#x}: {}; at odd ones: {}",
                     to_string(from.kind), from.size, to.size, std::min(from.size, to.size),
                     outcome_text(facts, GuestState::bars_even), outcome_text(facts, GuestState::bars_odd));
}

std::string bits_text(unsigned bits) {
  std::vector<std::string> names;
  for (unsigned bit = 0; bit < 8; ++bit) {
    if ((bits >> bit & 1u) != 0) names.push_back(std::to_string(bit));
  }
  return (names.size() == 1 ? "bit " : "bits ") + base::join(names, ", ");
}

// The states whose load was refused at this very byte.
std::vector<std::string> refusals_at(const DeviceReport& report, std::size_t offset) {
  std::vector<std::string> states;
  for (const StateReport& state : report.states) {
    for (const std::string& line : state.lines) {
      const auto bad = pci::parse_bad_config_data(line);
      if (state.outcome != LoadOutcome::refused || state.self || !bad || bad->offset != offset) continue;
      states.emplace_back(to_string(state.state));
    }
  }
  return states;
}

bool any_loaded(const DeviceReport& report) {
  return std::any_of(report.states.begin(), report.states.end(),
                     [](const StateReport& state) { return state.outcome == LoadOutcome::loaded; });
}

std::string byte_why(const ByteReport& byte, const std::vector<std::string>& refusals, bool loaded) {
  const unsigned only_source = *byte.mask_from & ~*byte.mask_to & 0xff;
  const unsigned only_destination = *byte.mask_to & ~*byte.mask_from & 0xff;
  std::vector<std::string> parts;
  if (byte.from != byte.to) parts.emplace_back("the values at reset differ");
  if (only_source != 0) parts.push_back(bits_text(only_source) + " writable on the source only");
  if (only_destination != 0) parts.push_back(bits_text(only_destination) + " writable on the destination only");
  parts.push_back(!refusals.empty() ? "refused on load (" + base::join(refusals, ", ") + ")"
                  : loaded          ? "QEMU does not check it: loads"
                                    : "not known: no load came this far");
  return base::join(parts, "; ");
}

bool is_reported(const DeviceReport& report, std::size_t offset) {
  return std::any_of(report.bytes.begin(), report.bytes.end(),
                     [&](const ByteReport& byte) { return byte.offset == offset; });
}

void add_config_bytes(const DeviceFacts& facts, DeviceReport& report) {
  const ConfigView& view = facts.view;
  const auto bars = bar_differences(view);
  const std::size_t size = std::min(view.image_from.size(), view.image_to.size());
  for (std::size_t offset = 0; offset < size; ++offset) {
    ByteReport byte;
    byte.offset = offset;
    byte.from = view.image_from.u8(offset);
    byte.to = view.image_to.u8(offset);
    byte.mask_from = view.mask_from.u8(offset);
    byte.mask_to = view.mask_to.u8(offset);
    if ((byte.from == byte.to && byte.mask_from == byte.mask_to) || is_reported(report, offset)) continue;
    byte.field = pci::field_at(view.image_from, offset).name;
    const auto bar = std::find_if(bars.begin(), bars.end(), [&](const auto& entry) {
      const pci::Bar& one = entry.second.from.size != 0 ? entry.second.from : entry.second.to;
      return offset >= one.offset && offset < one.offset + (one.kind == pci::BarKind::mem64 ? 8u : 4u);
    });
    const auto refusals = refusals_at(report, offset);
    byte.breaks = bar != bars.end() || !refusals.empty();
    byte.why = bar != bars.end() ? bar_why(facts, bar->second) : byte_why(byte, refusals, any_loaded(report));
    report.bytes.push_back(std::move(byte));
  }
}

void add_changed_bytes(const DeviceFacts& facts, const DeviceFacts* control, DeviceReport& report) {
  std::size_t own = 0;
  std::map<std::size_t, std::pair<ChangedByte, std::vector<std::string>>> changed;
  for (const StateFacts& state : facts.states) {
    for (const ChangedByte& byte : state.changed) {
      if (byte.excused != 0) {
        ++report.excused_bytes;
        if (std::find(report.excuses.begin(), report.excuses.end(), byte.reason) == report.excuses.end()) {
          report.excuses.push_back(byte.reason);
        }
      }
      if (((byte.before ^ byte.after) & ~byte.excused & 0xff) == 0) continue;
      if (changed_by_itself(state.state, byte.offset, control)) {
        ++own;
        continue;
      }
      auto& [first, states] = changed.try_emplace(byte.offset, byte, std::vector<std::string>{}).first->second;
      states.emplace_back(to_string(state.state));
    }
  }
  if (own != 0) {
    report.self.push_back(fmt::format("{} bytes, over all states, are not what they were before the load", own));
  }
  for (const auto& [offset, entry] : changed) {
    const auto& [byte, states] = entry;
    ByteReport line;
    line.offset = offset;
    line.field = pci::field_at(facts.view.image_from, offset).name;
    line.from = byte.before;
    line.to = byte.after;
    line.mask_from = facts.view.mask_from.u8(offset);
    line.mask_to = facts.view.mask_to.u8(offset);
    line.breaks = true;
    line.why = fmt::format("silently changed on load: {:#04x} before, {:#04x} after ({})", byte.before, byte.after,
                           base::join(states, ", "));
    report.bytes.push_back(std::move(line));
  }
}

bool ring_refused(const DeviceReport& report) {
  for (const StateReport& state : report.states) {
    for (const std::string& line : state.lines) {
      if (state.outcome == LoadOutcome::refused && !state.self && pci::parse_ring_too_large(line)) return true;
    }
  }
  return false;
}

// Registers of the virtio transport: not configuration space, and just as much what a driver relies on.
void add_queues(const DeviceFacts& facts, const DeviceFacts* control, DeviceReport& report) {
  const VirtioView &from = facts.own_virtio_from, &to = facts.own_virtio_to;
  const auto add = [&](std::string field, std::uint64_t a, std::uint64_t b, bool breaks, std::string why) {
    if (a == b) return;
    ByteReport byte;
    byte.field = std::move(field);
    byte.from = a;
    byte.to = b;
    byte.breaks = breaks;
    byte.why = std::move(why);
    report.bytes.push_back(std::move(byte));
  };
  const auto* modern = find_state(facts, GuestState::modern_driver);
  const auto* legacy = find_state(facts, GuestState::legacy_driver);
  bool changed = false;
  for (const StateFacts* state : {modern, legacy}) {
    if (state == nullptr || state->outcome != LoadOutcome::loaded) continue;
    // A device that carries nothing over at all: its queues are no news.
    if (changes_itself(state->state, control)) continue;
    changed = changed || state->virtio_before.sizes != state->virtio_after.sizes ||
              state->virtio_before.queue_count != state->virtio_after.queue_count;
  }
  if (!from.sizes.empty() && !to.sizes.empty()) {
    const bool refused = ring_refused(report);
    const std::string why = refused   ? "a queue of the source's size is refused on load"
                            : changed ? "silently changed on load, under a driver that has set up its queues"
                                      : "the builds' own sizes differ; on load the source's is kept";
    const auto belied = [](std::uint32_t property, const VirtioView& queues, const char* side) {
      if (property == 0 || property == queues.sizes.front()) return std::string();
      return fmt::format("; the {}'s own queue-size property says {}", side, property);
    };
    const std::string properties =
        belied(facts.queue_property_from, from, "source") + belied(facts.queue_property_to, to, "destination");
    for (std::size_t queue = 0; queue < std::min(from.sizes.size(), to.sizes.size()); ++queue) {
      add(queue == 0 ? "vring-num" : fmt::format("vring-num of queue {}", queue), from.sizes[queue], to.sizes[queue],
          refused || changed, queue == 0 ? why + properties : why);
    }
  }
  add("virtio queue count", from.queue_count, to.queue_count, changed,
      changed ? "silently changed on load" : "the builds' own counts differ");
  const std::string type = pci::virtio_type_of(facts.device.driver);
  const auto named = [&](std::uint64_t bits) { return base::join(pci::virtio_feature_names(bits, type), " "); };
  const std::uint64_t gone = from.features & ~to.features, come = to.features & ~from.features;
  std::vector<std::string> parts;
  if (gone != 0) parts.push_back("the source only offers " + named(gone));
  if (come != 0) parts.push_back("the destination only offers " + named(come));
  const bool refused = modern != nullptr && modern->outcome == LoadOutcome::refused && gone != 0;
  add("virtio features", from.features, to.features, refused, base::join(parts, "; "));
}

// BARs whose sizes differ where the differing bits cancel out byte by byte can't be: but one that is only there on one
// side may look alike at reset; said for itself when no byte has said it.
void add_silent_bars(const DeviceFacts& facts, DeviceReport& report) {
  for (const auto& [index, difference] : bar_differences(facts.view)) {
    const pci::Bar& one = difference.from.size != 0 ? difference.from : difference.to;
    const bool said = std::any_of(report.bytes.begin(), report.bytes.end(), [&](const ByteReport& byte) {
      return byte.breaks && byte.offset && *byte.offset >= one.offset && *byte.offset < one.offset + 8;
    });
    if (said) continue;
    ByteReport byte;
    byte.offset = one.offset;
    byte.field = pci::bar_name(index);
    byte.from = facts.view.image_from.u8(one.offset);
    byte.to = facts.view.image_to.u8(one.offset);
    byte.mask_from = facts.view.mask_from.u8(one.offset);
    byte.mask_to = facts.view.mask_to.u8(one.offset);
    byte.breaks = true;
    byte.why = bar_why(facts, difference);
    report.bytes.push_back(std::move(byte));
  }
}

}  // namespace

void add_bytes(const DeviceFacts& facts, const DeviceFacts* control, DeviceReport& report) {
  add_changed_bytes(facts, control, report);
  add_config_bytes(facts, report);
  add_silent_bars(facts, report);
  add_queues(facts, control, report);
  // Registers outside configuration space come last.
  std::stable_sort(report.bytes.begin(), report.bytes.end(), [](const ByteReport& a, const ByteReport& b) {
    return a.offset.value_or(std::string::npos) < b.offset.value_or(std::string::npos);
  });
}

}  // namespace migsoak::compat
