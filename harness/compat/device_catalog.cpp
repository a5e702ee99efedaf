#include "compat/device_catalog.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace migsoak::compat {

namespace {

enum class BackendKind {
  nothing,
  block,
  net,
  rng,
  filesystem,
  crypto,
  memory,
  shared_memory,
  small_memory,
  character,
  two_characters,
  four_characters,
  vhost_user_blk,
  audio,
  can,
  bmc,
};

struct CatalogLine {
  std::string_view driver;
  BackendKind backend;
  std::string_view properties;
};

constexpr CatalogLine kDevices[] = {
#define DEVICE(driver, backend, properties) {driver, BackendKind::backend, properties},
#define BEHIND(driver, controller, properties, bus)
#define UNFIT(driver, reason)
#include "compat/devices.def"
#undef UNFIT
#undef BEHIND
#undef DEVICE
};

struct BehindLine {
  std::string_view driver;
  Controller controller;
};

constexpr BehindLine kBehind[] = {
#define DEVICE(driver, backend, properties)
#define BEHIND(driver, controller, properties, bus) {driver, {controller, properties, bus}},
#define UNFIT(driver, reason)
#include "compat/devices.def"
#undef UNFIT
#undef BEHIND
#undef DEVICE
};

struct VisibleLine {
  std::string_view driver;
  VisibleProperty visible;
};

constexpr VisibleLine kVisible[] = {
#define VISIBLE(driver, property, what) {driver, {property, what}},
#include "compat/visible_properties.def"
#undef VISIBLE
};

struct UnfitLine {
  std::string_view driver;
  std::string_view reason;
};

constexpr UnfitLine kUnfit[] = {
#define DEVICE(driver, backend, properties)
#define BEHIND(driver, controller, properties, bus)
#define UNFIT(driver, reason) {driver, reason},
#include "compat/devices.def"
#undef UNFIT
#undef BEHIND
#undef DEVICE
};

std::string replaced(std::string text, std::string_view what, const std::string& with) {
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size())) {
    text.replace(at, what.size(), with);
  }
  return text;
}

std::vector<hypervisor::Backend> backends_of(BackendKind kind, std::size_t index, const std::string& socket) {
  using hypervisor::Properties;
  const std::string id = fmt::format("n{}", index);
  // Of an option whose first word is its type.
  const auto typed = [](const std::string& option, const std::string& type, const std::string& of,
                        const Properties& more = {}) {
    Properties properties{{"type", type}, {"id", of}};
    properties.insert(properties.end(), more.begin(), more.end());
    return hypervisor::Backend{option, of, std::move(properties)};
  };
  using Backends = std::vector<hypervisor::Backend>;
  const auto characters = [&](std::string_view suffixes) {
    Backends backends{typed("chardev", "null", id)};
    for (const char suffix : suffixes) backends.push_back(typed("chardev", "null", id + suffix));
    return backends;
  };
  const auto ram = [&](const Properties& properties) {
    return Backends{typed("object", "memory-backend-ram", id, properties)};
  };
  switch (kind) {
    case BackendKind::nothing: return {};
    case BackendKind::block:
      return {{"blockdev", id, {{"driver", "null-co"}, {"read-zeroes", true}, {"node-name", id}}}};
    case BackendKind::net: return {typed("netdev", "hubport", id, {{"hubid", index}})};
    case BackendKind::rng: return {typed("object", "rng-builtin", id)};
    case BackendKind::filesystem: return {typed("fsdev", "synth", id)};
    case BackendKind::crypto: return {typed("object", "cryptodev-backend-builtin", id)};
    case BackendKind::memory: return ram({{"size", "16M"}});
    case BackendKind::shared_memory: return ram({{"size", "1M"}, {"share", true}});
    case BackendKind::small_memory: return ram({{"size", "64K"}});
    case BackendKind::character: return characters("");
    case BackendKind::two_characters: return characters("b");
    case BackendKind::four_characters: return characters("bcd");
    case BackendKind::vhost_user_blk: {
      hypervisor::DeviceSpec device;
      device.socket_path = socket;
      return {hypervisor::vhost_user_chardev(id, device)};
    }
    case BackendKind::audio: return {typed("audiodev", "none", id)};
    case BackendKind::can: return {typed("object", "can-bus", id)};
    case BackendKind::bmc: return {typed("device", "ipmi-bmc-sim", id)};
  }
  return {};
}

const CatalogLine* find_line(std::string_view driver) {
  for (const CatalogLine& line : kDevices) {
    if (line.driver == driver) return &line;
  }
  return nullptr;
}

bool matches(std::string_view pattern, std::string_view driver) {
  if (pattern.ends_with('*')) return driver.starts_with(pattern.substr(0, pattern.size() - 1));
  return pattern == driver;
}

}  // namespace

base::Result<DevicePair> parse_device(std::string_view text) {
  DevicePair pair;
  pair.asked_for = true;
  const auto comma = text.find(',');
  pair.driver = std::string(text.substr(0, comma));
  if (pair.driver.empty() || pair.driver.find_first_of("= \t") != std::string::npos) {
    return base::fail(base::ErrorKind::bad_input,
                      fmt::format("'{}' is no device: expected DRIVER[,property=value...]", base::printable(text)));
  }
  if (comma != std::string_view::npos) pair.properties_from = std::string(text.substr(comma + 1));
  for (const std::string& property : base::split(pair.properties_from, ',')) {
    const std::string key = property.substr(0, property.find('='));
    if (key.empty() || property.find('=') == std::string::npos) {
      if (comma == std::string_view::npos) continue;
      return base::fail(base::ErrorKind::bad_input, fmt::format("'{}': '{}' is not property=value",
                                                                base::printable(text), base::printable(property)));
    }
    if (key == "id" || key == "bus" || key == "addr" || key == "multifunction") {
      return base::fail(base::ErrorKind::bad_input,
                        fmt::format("'{}': compat chooses '{}' itself; see --placement", base::printable(text), key));
    }
  }
  pair.properties_to = pair.properties_from;
  return pair;
}

base::Result<DevicePair> parse_device_pair(std::string_view from, std::string_view to) {
  MIGSOAK_ASSIGN(DevicePair pair, parse_device(from), "--device-from");
  MIGSOAK_ASSIGN(const DevicePair other, parse_device(to), "--device-to");
  if (pair.driver != other.driver) {
    return base::fail(base::ErrorKind::bad_input,
                      fmt::format("--device-from {} and --device-to {} pair up in order and must be the same type",
                                  base::printable(pair.driver), base::printable(other.driver)));
  }
  pair.properties_to = other.properties_to;
  return pair;
}

std::string unfit_reason(std::string_view driver) {
  if (find_line(driver) != nullptr) return "";  // a prefix may be too wide
  for (const UnfitLine& line : kUnfit) {
    if (matches(line.driver, driver)) return std::string(line.reason);
  }
  return "";
}

hypervisor::Properties properties_in(std::string_view text) {
  hypervisor::Properties properties;
  for (const std::string& property : base::split(text, ',')) {
    if (property.empty()) continue;
    const auto equals = property.find('=');
    properties.emplace_back(property.substr(0, equals), property.substr(equals + 1));
  }
  return properties;
}

hypervisor::DeviceParts backends_for(std::string_view driver, std::string_view user_properties, std::size_t index,
                                     const std::string& socket) {
  const CatalogLine* found = find_line(driver);
  if (found == nullptr) return {};
  hypervisor::DeviceParts parts;
  parts.backends = backends_of(found->backend, index, socket);
  const auto own = properties_in(user_properties);
  // $i may be a bus or chassis number, which start at 1.
  const std::string asked = replaced(replaced(std::string(found->properties), "$n", fmt::format("n{}", index)), "$i",
                                     fmt::format("{}", index + 1));
  for (auto& property : properties_in(asked)) {
    const bool named =
        std::any_of(own.begin(), own.end(), [&](const auto& one) { return one.first == property.first; });
    if (!named) parts.frontend.push_back(std::move(property));
  }
  return parts;
}

bool needs_vhost_export(std::string_view driver) {
  const CatalogLine* line = find_line(driver);
  return line != nullptr && line->backend == BackendKind::vhost_user_blk;
}

std::optional<Controller> controller_of(std::string_view driver) {
  for (const BehindLine& line : kBehind) {
    if (line.driver == driver) return line.controller;
  }
  return std::nullopt;
}

std::vector<VisibleProperty> visible_properties(std::string_view driver) {
  std::vector<VisibleProperty> properties;
  for (const VisibleLine& line : kVisible) {
    if (matches(line.driver, driver)) properties.push_back(line.visible);
  }
  return properties;
}

bool is_virtio(std::string_view driver) {
  return driver.starts_with("virtio-") || needs_vhost_export(driver);
}

}  // namespace migsoak::compat
