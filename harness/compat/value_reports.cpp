#include "compat/value_reports.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/text.h"
#include "compat/byte_reports.h"
#include "pci/fields.h"
#include "pci/virtio_config.h"

namespace migsoak::compat {

namespace {

constexpr GuestState kDriverStates[] = {GuestState::legacy_driver, GuestState::modern_driver};
using Value = std::optional<std::string>;

// One value of a device, wherever it was seen.
struct SeenValue {
  std::string field, property, what;
  bool number = false;
  Value own_from, own_to;  // each build's own
  struct Load {
    GuestState state;
    Value before, after;
  };
  std::vector<Load> loads;  // that went well
};

std::vector<SeenValue::Load> loads_of(const DeviceFacts& facts, auto&& value_in) {
  std::vector<SeenValue::Load> loads;
  for (const GuestState state : kDriverStates) {
    const StateFacts* tried = find_state(facts, state);
    if (tried == nullptr || tried->outcome != LoadOutcome::loaded) continue;
    loads.push_back({state, value_in(tried->virtio_before), value_in(tried->virtio_after)});
  }
  return loads;
}

std::vector<SeenValue> seen_values(const DeviceFacts& facts) {
  std::vector<SeenValue> all;
  for (const auto& field : pci::virtio_config_fields(pci::virtio_type_of(facts.device.driver))) {
    const auto value_in = [&](const VirtioView& view) { return pci::virtio_config_value(field, view.config); };
    SeenValue value{field.name(), std::string(field.property), "", true, {}, {}, loads_of(facts, value_in)};
    value.number = field.bytes <= 8 && field.bytes != 6;
    value.own_from = value_in(facts.own_virtio_from);
    value.own_to = value_in(facts.own_virtio_to);
    all.push_back(std::move(value));
  }
  for (const PropertyView& property : facts.properties) {
    SeenValue value{
        property.property, property.property, property.what, property.number, property.from, property.to, {}};
    const auto serial_in = [](const VirtioView& view) { return view.serial; };
    if (property.property == "serial") value.loads = loads_of(facts, serial_in);
    std::erase_if(value.loads, [](const SeenValue::Load& load) { return !load.before || !load.after; });
    all.push_back(std::move(value));
  }
  return all;
}

// The loads after which the guest reads something else.
std::vector<SeenValue::Load> changed_loads(const SeenValue& value) {
  std::vector<SeenValue::Load> changed;
  for (const SeenValue::Load& load : value.loads) {
    if (load.before && load.before != load.after) changed.push_back(load);
  }
  return changed;
}

std::string states_text(const std::vector<SeenValue::Load>& loads) {
  std::vector<std::string> names;
  for (const SeenValue::Load& load : loads) names.emplace_back(to_string(load.state));
  return base::join(names, ", ");
}

std::string value_text(const Value& value) {
  return value ? (value->empty() ? "nothing" : *value) : "no such field";
}

ValueReport report_of(const SeenValue& value) {
  ValueReport report;
  report.field = value.field;
  report.property = value.property;
  report.number = value.number;
  report.from = value.own_from;
  report.to = value.own_to;
  if (!value.loads.empty()) report.after_load = value.loads.back().after;
  return report;
}

const SeenValue* find_value(const std::vector<SeenValue>& values, const std::string& field) {
  const auto found = std::find_if(values.begin(), values.end(), [&](const auto& one) { return one.field == field; });
  return found == values.end() ? nullptr : &*found;
}

// Nothing to report: empty.
std::optional<ValueReport> judged(const SeenValue& value) {
  ValueReport report = report_of(value);
  if (const auto changed = changed_loads(value); !changed.empty()) {
    report.from = changed.back().before;
    if (!report.to) report.to = changed.back().after;
    report.after_load = changed.back().after;
    report.breaks = true;
    report.why = fmt::format("silently changed on load: {} before, {} after ({})", value_text(changed.back().before),
                             value_text(changed.back().after), states_text(changed));
  } else if (value.own_from == value.own_to || !value.own_from || !value.own_to) {
    // A field on one side only comes with a feature of that side only, which is told as such.
    return std::nullopt;
  } else if (!value.loads.empty()) {
    report.why = "the builds' own values differ; on load the source's is kept";
  } else if (!value.what.empty()) {
    report.breaks = true;
    report.after_load = report.to;
    report.why = "the guest reads the destination's after the load: it comes with no state (compared as properties)";
  } else {
    report.why = "the builds' own values differ; not known what a load does: none came this far";
  }
  if (!value.what.empty()) report.why += "; read by " + value.what;
  return report;
}

}  // namespace

bool value_changes_unexplained(const DeviceFacts& facts) {
  const auto values = seen_values(facts);
  return std::any_of(values.begin(), values.end(), [](const SeenValue& value) {
    return value.own_from == value.own_to && !changed_loads(value).empty();
  });
}

void add_values(const DeviceFacts& facts, const DeviceFacts* control, DeviceReport& report) {
  const auto controls = control != nullptr ? seen_values(*control) : std::vector<SeenValue>{};
  for (const SeenValue& value : seen_values(facts)) {
    auto one = judged(value);
    if (!one) continue;
    const SeenValue* own = find_value(controls, value.field);
    if (one->breaks && value.own_from == value.own_to && own != nullptr && !changed_loads(*own).empty()) {
      report.self.push_back(fmt::format("{}: {}", one->field, one->why));
      continue;
    }
    report.values.push_back(std::move(*one));
  }
}

}  // namespace migsoak::compat
