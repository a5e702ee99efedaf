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
#define BEHIND(driver, controller, bus)
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
#define BEHIND(driver, controller, bus) {driver, {controller, bus}},
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
#define BEHIND(driver, controller, bus)
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

std::vector<std::string> backend_arguments(BackendKind kind, std::size_t index) {
  const std::string id = fmt::format("n{}", index);
  const auto object = [&](const std::string& type) {
    return std::vector<std::string>{"-object", fmt::format("{},id={}", type, id)};
  };
  const auto characters = [&](std::string_view suffixes) {
    std::vector<std::string> arguments{"-chardev", "null,id=" + id};
    for (const char suffix : suffixes) {
      arguments.insert(arguments.end(), {"-chardev", fmt::format("null,id={}{}", id, suffix)});
    }
    return arguments;
  };
  switch (kind) {
    case BackendKind::nothing: return {};
    case BackendKind::block: return {"-blockdev", "null-co,read-zeroes=on,node-name=" + id};
    case BackendKind::net: return {"-netdev", fmt::format("hubport,id={},hubid={}", id, index)};
    case BackendKind::rng: return object("rng-builtin");
    case BackendKind::filesystem: return {"-fsdev", "synth,id=" + id};
    case BackendKind::crypto: return object("cryptodev-backend-builtin");
    case BackendKind::memory: return object("memory-backend-ram,size=16M");
    case BackendKind::shared_memory: return object("memory-backend-ram,size=1M,share=on");
    case BackendKind::small_memory: return object("memory-backend-ram,size=64K");
    case BackendKind::character: return characters("");
    case BackendKind::two_characters: return characters("b");
    case BackendKind::four_characters: return characters("bcd");
    case BackendKind::vhost_user_blk:
      return {"-chardev", fmt::format("socket,id={},path={}{}", id, kVhostSocket, index)};
    case BackendKind::audio: return {"-audiodev", "none,id=" + id};
    case BackendKind::can: return object("can-bus");
    case BackendKind::bmc: return {"-device", "ipmi-bmc-sim,id=" + id};
  }
  return {};
}

std::vector<std::string> keys_of(std::string_view properties) {
  std::vector<std::string> keys;
  for (const std::string& property : base::split(properties, ',')) {
    if (!property.empty()) keys.push_back(property.substr(0, property.find('=')));
  }
  return keys;
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

Backend backend_for(std::string_view driver, std::string_view user_properties, std::size_t index) {
  const CatalogLine* found = find_line(driver);
  if (found == nullptr) return {};
  const auto user_keys = keys_of(user_properties);
  std::vector<std::string> properties;
  for (const std::string& property : base::split(found->properties, ',')) {
    const std::string key = property.substr(0, property.find('='));
    if (std::find(user_keys.begin(), user_keys.end(), key) != user_keys.end()) continue;
    // $i may be a bus or chassis number, which start at 1.
    properties.push_back(
        replaced(replaced(property, "$n", fmt::format("n{}", index)), "$i", fmt::format("{}", index + 1)));
  }
  return {backend_arguments(found->backend, index), base::join(properties, ",")};
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
