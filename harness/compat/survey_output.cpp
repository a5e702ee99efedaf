// A survey for programs (JSON) and for people (text).
#include <fmt/format.h>

#include <charconv>

#include "base/text.h"
#include "compat/survey.h"

namespace migsoak::compat {

namespace {

constexpr std::size_t kErrorLines = 6;
constexpr std::size_t kTextLines = 8;  // of each kind of explanation, for people

std::string_view outcome_name(LoadOutcome outcome) {
  return outcome == LoadOutcome::loaded ? "loads" : outcome == LoadOutcome::refused ? "refused" : "unknown";
}

base::Json lines_json(const std::vector<std::string>& lines) {
  base::Json array = base::Json::array();
  for (const std::string& line : lines) array.push_back(base::printable(line));
  return array;
}

base::Json byte_json(const ByteReport& byte) {
  base::Json json{{"offset", nullptr},    {"field", byte.field}, {"from", byte.from}, {"to", byte.to},
                  {"mask_from", nullptr}, {"mask_to", nullptr},  {"why", byte.why},   {"breaks", byte.breaks}};
  if (byte.offset) json["offset"] = *byte.offset;
  if (byte.mask_from) json["mask_from"] = *byte.mask_from;
  if (byte.mask_to) json["mask_to"] = *byte.mask_to;
  return json;
}

base::Json value_json(const std::optional<std::string>& value, bool number) {
  if (!value) return nullptr;
  std::uint64_t parsed = 0;
  const auto [end, error] = std::from_chars(value->data(), value->data() + value->size(), parsed);
  if (number && error == std::errc() && end == value->data() + value->size()) return parsed;
  return base::printable(*value);
}

base::Json value_report_json(const ValueReport& value) {
  return {{"field", value.field},
          {"property", value.property.empty() ? base::Json() : base::Json(value.property)},
          {"from", value_json(value.from, value.number)},
          {"to", value_json(value.to, value.number)},
          {"after_load", value_json(value.after_load, value.number)},
          {"why", value.why},
          {"breaks", value.breaks}};
}

std::string value_text(const ValueReport& value) {
  const auto shown = [](const std::optional<std::string>& one) {
    return !one ? std::string("none") : one->empty() ? std::string("empty") : base::printable(*one);
  };
  return fmt::format("      {}{}: {} on the source, {} on the destination{}: {}\n", value.field,
                     value.property.empty() || value.property == value.field ? "" : " (" + value.property + ")",
                     shown(value.from), shown(value.to),
                     value.after_load ? ", " + shown(value.after_load) + " after the load" : "", value.why);
}

std::string byte_text(const ByteReport& byte) {
  if (!byte.offset) {
    // Feature bits are read in hex, sizes and counts are not.
    const bool bits = byte.field.ends_with("features");
    const auto number = [&](std::uint64_t value) { return bits ? fmt::format("{:#x}", value) : std::to_string(value); };
    return fmt::format("      {}: {} on the source, {} on the destination: {}\n", byte.field, number(byte.from),
                       number(byte.to), byte.why);
  }
  const std::string masks =
      byte.mask_from && byte.mask_to ? fmt::format(", writable {:#04x}/{:#04x}", *byte.mask_from, *byte.mask_to) : "";
  return fmt::format("      {:#04x} {}: {:#04x}/{:#04x}{}: {}\n", *byte.offset, byte.field, byte.from, byte.to, masks,
                     byte.why);
}

std::string device_lines(const DeviceReport& device) {
  const std::string from = device_text(device.device, Side::from), to = device_text(device.device, Side::to);
  std::string text = fmt::format("  {:<12} {}{}\n", to_string(device.verdict), base::printable(from),
                                 from == to ? "" : " -> " + base::printable(to));
  if (!device.reason.empty()) text += "      " + base::printable(device.reason, 800) + "\n";
  for (const StateReport& state : device.states) {
    if (state.outcome != LoadOutcome::refused) continue;
    text += fmt::format("      refused when {} ({}):\n", to_string(state.state), what_it_is(state.state));
    for (std::size_t i = 0; i < std::min(state.lines.size(), kErrorLines); ++i) {
      text += "        " + base::printable(state.lines[i]) + "\n";
    }
  }
  // What breaks comes first; without end is neither.
  for (const bool breaks : {true, false}) {
    std::size_t shown = 0;
    for (const ByteReport& byte : device.bytes) {
      if (byte.breaks == breaks && shown++ < kTextLines) text += byte_text(byte);
    }
    if (shown > kTextLines) {
      text += fmt::format("      and {} more bytes that {}\n", shown - kTextLines, breaks ? "break" : "load");
    }
  }
  for (const bool breaks : {true, false}) {
    for (const ValueReport& value : device.values) {
      if (value.breaks == breaks) text += value_text(value);
    }
  }
  for (const std::string& line : device.self) {
    text += fmt::format("      the source's build to itself: {}\n", base::printable(line));
  }
  if (device.excused_bytes != 0) {
    text += fmt::format("      {} bytes changed on load, excused: {}\n", device.excused_bytes,
                        base::join(device.excuses, "; "));
  }
  if (device.verdict != Compatibility::incompatible && !device.device.asked_for) return text;
  const auto explain = [&](const char* what, const std::vector<std::string>& lines) {
    for (std::size_t i = 0; i < std::min(lines.size(), kTextLines); ++i) {
      text += fmt::format("      {}: {}\n", what, base::printable(lines[i]));
    }
    if (lines.size() > kTextLines) text += fmt::format("      {}: and {} more\n", what, lines.size() - kTextLines);
  };
  explain("vmstate", device.vmstate);
  explain("machine type sets", device.machine_compat);
  return text;
}

}  // namespace

base::Json to_json(const DeviceReport& device) {
  base::Json json{{"device", device.device.driver},
                  {"properties_from", device.device.properties_from},
                  {"properties_to", device.device.properties_to},
                  {"verdict", to_string(device.verdict)},
                  {"bytes", base::Json::array()},
                  {"values", base::Json::array()},
                  {"states", base::Json::array()}};
  if (!device.reason.empty()) json["reason"] = base::printable(device.reason, 800);
  if (!device.path.empty()) json["address"] = device.path;
  for (const ByteReport& byte : device.bytes) json["bytes"].push_back(byte_json(byte));
  for (const ValueReport& value : device.values) json["values"].push_back(value_report_json(value));
  for (const StateReport& state : device.states) {
    base::Json one{{"state", to_string(state.state)}, {"outcome", outcome_name(state.outcome)}};
    if (state.self) one["self"] = true;
    if (!state.lines.empty()) one["lines"] = lines_json(state.lines);
    if (!state.decoded.empty()) one["decoded"] = base::printable(state.decoded, 800);
    json["states"].push_back(std::move(one));
  }
  if (!device.self.empty()) json["self"] = lines_json(device.self);
  if (device.excused_bytes != 0) {
    json["excused"] = {{"count", device.excused_bytes}, {"reasons", lines_json(device.excuses)}};
  }
  if (!device.vmstate.empty()) json["vmstate"] = lines_json(device.vmstate);
  if (!device.machine_compat.empty()) json["machine_compat"] = lines_json(device.machine_compat);
  return json;
}

base::Json to_json(const SurveyReport& report) {
  base::Json json{{"from", base::printable(report.from)},
                  {"to", base::printable(report.to)},
                  {"from_version", report.from_version},
                  {"to_version", report.to_version},
                  {"machine", report.machine},
                  {"placement", to_string(report.placement)},
                  {"verdict", to_string(report.worst())},
                  {"devices", base::Json::array()},
                  {"left_out", lines_json(report.left_out)},
                  {"seconds", report.seconds}};
  for (const DeviceReport& device : report.devices) json["devices"].push_back(to_json(device));
  for (const SurveyReport& other : report.reverse) json["reverse"] = to_json(other);
  return json;
}

std::string to_text(const SurveyReport& report) {
  std::string text =
      fmt::format("{} (QEMU {}) to {} (QEMU {}), {}, at {}\n", base::printable(report.from), report.from_version,
                  base::printable(report.to), report.to_version, report.machine, to_string(report.placement));
  std::size_t counts[4] = {};
  for (const DeviceReport& device : report.devices) {
    text += device_lines(device);
    ++counts[static_cast<std::size_t>(device.verdict)];
  }
  text += fmt::format("{} device{}: {} same, {} compatible, {} incompatible, {} unknown", report.devices.size(),
                      report.devices.size() == 1 ? "" : "s", counts[0], counts[1], counts[2], counts[3]);
  if (report.seconds > 0) text += fmt::format("; {:.2f} s", report.seconds);
  text += "\n";
  if (!report.left_out.empty()) {
    text += fmt::format("left out, not known to both: {}\n", base::join(report.left_out, ", "));
  }
  for (const SurveyReport& other : report.reverse) text += "\n" + to_text(other);
  return text;
}

}  // namespace migsoak::compat
