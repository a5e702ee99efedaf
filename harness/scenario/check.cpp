#include "scenario/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "base/text.h"
#include "hypervisor/device_type.h"
#include "hypervisor/driver.h"
#include "hypervisor/machine_spec.h"
#include "ops/hotplug/hotplug.h"
#include "ops/modes/mode.h"
#include "target/target_kind.h"

namespace migsoak::scenario {

using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

bool all_strings(const toml::node& node) {
  const toml::array* array = node.as_array();
  if (array == nullptr) return false;
  return std::all_of(array->begin(), array->end(), [](const toml::node& item) { return item.is_string(); });
}

bool has_type(const toml::node& node, KeyType type, bool is_gate_limit) {
  switch (type) {
    case KeyType::string: return node.is_string();
    case KeyType::integer: return node.is_integer() || (is_gate_limit && node.is_floating_point());
    case KeyType::boolean: return node.is_boolean();
    case KeyType::size: return node.is_string() || node.is_integer();
    case KeyType::string_list: return all_strings(node);
    case KeyType::string_or_list: return node.is_string() || all_strings(node);
    case KeyType::list_or_weights: return node.is_string() || node.is_table() || all_strings(node);
    case KeyType::env:
    case KeyType::table: return node.is_table();
    case KeyType::option: return node.is_string() || node.is_number() || node.is_boolean() || all_strings(node);
    case KeyType::props: return node.is_table() || node.is_string() || node.is_number() || node.is_boolean();
    case KeyType::table_list: return node.is_array_of_tables() || (node.is_array() && node.as_array()->empty());
  }
  return false;
}

Result<void> check_table(const toml::table& table, const std::vector<std::string>& path, const std::string& file);

Result<void> check_node(const toml::node& node, const std::vector<std::string>& path, const std::string& file) {
  const std::string shown = base::printable(base::join(path, "."));
  const auto line = node.source().begin.line;
  const KeySpec* key = find_key(path);
  if (key == nullptr) {
    const std::vector<std::string> siblings = known_children({path.begin(), path.end() - 1});
    const std::string near = base::nearest_name(path.back(), siblings);
    return fail(ErrorKind::bad_input,
                fmt::format("{}:{}: unknown key '{}'{}", file, line, shown,
                            near.empty() ? fmt::format("; known here: {}", base::join(siblings, ", "))
                                         : fmt::format(", did you mean '{}'?", near)));
  }
  const bool is_gate_limit = path.size() == 2 && path.front() == "gate";
  if (!has_type(node, key->type, is_gate_limit)) {
    return fail(ErrorKind::bad_input, fmt::format("{}:{}: {}: expected {}", file, line, shown, expected(key->type)));
  }
  if (const toml::table* table = node.as_table()) return check_table(*table, path, file);
  if (key->type != KeyType::table_list) return {};
  const toml::array& array = *node.as_array();
  for (std::size_t i = 0; i < array.size(); ++i) {
    std::vector<std::string> item = path;
    item.push_back(std::to_string(i));
    MIGSOAK_TRY(check_table(*array.get_as<toml::table>(i), item, file));
  }
  return {};
}

Result<void> check_table(const toml::table& table, const std::vector<std::string>& path, const std::string& file) {
  for (const auto& [name, node] : table) {
    std::vector<std::string> deeper = path;
    deeper.emplace_back(name.str());
    MIGSOAK_TRY(check_node(node, deeper, file));
  }
  return {};
}

// file:line of the i-th table of an array.
std::string place(const toml::table& root, const Scenario& scenario, const char* array, std::size_t index,
                  const char* key) {
  const toml::node_view<const toml::node> node = root[array][index];
  const toml::node* at = node[key].node() != nullptr ? node[key].node() : node.node();
  return fmt::format("{}:{}: {}.{}: ", scenario.file, at != nullptr ? at->source().begin.line : 0, array, key);
}

template <typename Items, typename Name>
Result<void> check_unique(const toml::table& root, const Scenario& scenario, const char* array, const char* key,
                          const Items& items, Name name) {
  std::set<std::string> seen;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!seen.insert(name(items[i])).second) {
      return fail(ErrorKind::bad_input,
                  place(root, scenario, array, i, key) + fmt::format("'{}' is taken already, each {} needs its own {}",
                                                                     base::printable(name(items[i])), array, key));
    }
  }
  return {};
}

// Why this target can't serve the device; empty: it can.
std::string problem_with_target(const Scenario& scenario, std::size_t index, const TargetScenario& target,
                                target::EndpointType endpoint) {
  const target::TargetKind& kind = *target::find_target_kind(target.kind);
  if (!target::serves(kind, endpoint)) {
    return fmt::format("a {} needs a {} endpoint, and target '{}' (kind \"{}\") has none", scenario.devices[index].type,
                       target::to_string(endpoint), target.name, kind.name);
  }
  std::vector<std::string> before;
  for (std::size_t other = 0; other < index; ++other) {
    if (scenario.devices[other].target == target.name) before.push_back(scenario.devices[other].id);
  }
  if (kind.devices_max == 0 || before.size() < kind.devices_max) return "";
  return fmt::format("target '{}' (kind \"{}\") serves device '{}' already; give each its own [[target]]", target.name,
                     kind.name, base::join(before, "', '"));
}

Result<void> check_device(const toml::table& root, const Scenario& scenario, std::size_t index) {
  const DeviceScenario& device = scenario.devices[index];
  const std::optional<target::EndpointType> endpoint = hypervisor::endpoint_of(device.type);
  const bool vhost_user = endpoint.has_value();
  if (vhost_user && scenario.find_target(device.target) == nullptr) {
    std::vector<std::string> names;
    for (const TargetScenario& target : scenario.targets) names.push_back(target.name);
    return fail(
        ErrorKind::bad_input,
        place(root, scenario, "device", index, "target") +
            (device.target.empty() ? fmt::format("a {} needs target = \"…\", the name of a [[target]]", device.type)
                                   : fmt::format("no [[target]] is named '{}'; known: {}",
                                                 base::printable(device.target), base::join(names, ", "))));
  }
  if (!vhost_user && !device.target.empty()) {
    return fail(ErrorKind::bad_input, place(root, scenario, "device", index, "target") +
                                          fmt::format("a {} has no target, only vhost-user devices do", device.type));
  }
  if (const TargetScenario* target = scenario.find_target(device.target)) {
    const std::string problem = problem_with_target(scenario, index, *target, *endpoint);
    if (!problem.empty()) {
      return fail(ErrorKind::bad_input, place(root, scenario, "device", index, "target") + problem);
    }
  }
  for (const auto& [side, props] : device.on) {
    const bool known = std::any_of(scenario.sides.begin(), scenario.sides.end(),
                                   [&name = side](const SideScenario& s) { return s.name == name; });
    if (!known) {
      return fail(ErrorKind::bad_input, place(root, scenario, "device", index, "on") +
                                            fmt::format("there is no [[side]] named '{}'", base::printable(side)));
    }
  }
  return {};
}

// A QEMU that execs would need its next target before it is the next QEMU.
Result<void> check_shares(const toml::table& root, const Scenario& scenario) {
  for (const ops::Mode& mode : ops::modes()) {
    if (mode.needs.process_order != ops::ProcessOrder::in_place || !scenario.uses_mode(mode.name)) continue;
    for (std::size_t i = 0; i < scenario.targets.size(); ++i) {
      if (scenario.targets[i].share != TargetShare::per_vm) continue;
      return fail(ErrorKind::bad_input,
                  place(root, scenario, "target", i, "share") +
                      fmt::format("a process per VM does not go with mode {}, in which one process is one VM after the "
                                  "other",
                                  mode.name));
    }
  }
  return {};
}

Result<void> check_hotplug(const toml::table& root, const Scenario& scenario) {
  const HotplugScenario& hotplug = scenario.hotplug;
  const auto where = [&](const char* key) {
    const toml::node* node = root["hotplug"][key].node();
    if (node == nullptr) node = root["hotplug"].node();
    return fmt::format("{}:{}: hotplug.{}: ", scenario.file, node != nullptr ? node->source().begin.line : 0, key);
  };
  const TargetScenario* target = scenario.find_target(hotplug.target);
  const std::vector<std::string> served = plugged_vhost_user_types(scenario);
  if (!served.empty() && target == nullptr) {
    return fail(ErrorKind::bad_input,
                where("target") +
                    fmt::format("plugging {} needs the name of a [[target]] that serves it", base::join(served, ", ")));
  }
  if (target != nullptr && target->share == TargetShare::per_vm) {
    return fail(ErrorKind::bad_input, where("target") +
                                          "a target with share = \"per-vm\" serves what its QEMU starts "
                                          "with; plugged devices need one that is shared");
  }
  if (target != nullptr && target::find_target_kind(target->kind)->devices_max == 1) {
    return fail(ErrorKind::bad_input,
                where("target") + fmt::format("a target of kind \"{}\" serves one device; plugged ones "
                                              "need a qemu-storage-daemon",
                                              target->kind));
  }
  if (!hotplug.target.empty() && target == nullptr) {
    return fail(ErrorKind::bad_input,
                where("target") + fmt::format("no [[target]] is named '{}'", base::printable(hotplug.target)));
  }
  for (const auto& [side, kinds] : hotplug.on) {
    const bool known = std::any_of(scenario.sides.begin(), scenario.sides.end(),
                                   [&name = side](const SideScenario& s) { return s.name == name; });
    if (!known) {
      return fail(ErrorKind::bad_input,
                  where("on") + fmt::format("there is no [[side]] named '{}'", base::printable(side)));
    }
  }
  return {};
}

// What a driver that plugs in its own way can't.
Result<void> check_plugging(const Scenario& scenario, const hypervisor::DriverKind& driver) {
  const HotplugScenario& hotplug = scenario.hotplug;
  const auto refused = [&](const std::string& key, const std::string& what, const std::string& why) {
    return fail(ErrorKind::bad_input, fmt::format("{}: hotplug.{}: {} needs driver \"direct\"; with \"{}\": {}",
                                                  scenario.file, key, what, driver.name, why));
  };
  if (!hotplug.used()) return {};
  for (const std::string& kind : ops::hotplug_kind_names()) {
    if (!hotplug.uses(kind) || driver.why_not_plugged == nullptr) continue;
    if (const std::string why = driver.why_not_plugged(kind); !why.empty()) return refused("kinds", kind, why);
  }
  if (driver.settled_only.empty()) return {};
  for (const auto& [timing, weight] : hotplug.timings) {
    if (timing != "settled" && weight > 0) return refused("timings", timing, driver.settled_only);
  }
  for (const HotplugStep& step : hotplug.steps) {
    if (step.timing != "settled") return refused("step", step.timing, driver.settled_only);
  }
  if (!hotplug.props.empty() || !hotplug.on.empty()) {
    return refused(hotplug.props.empty() ? "on" : "props", "a property of a plugged device",
                   "it overrides properties of what is there from the start");
  }
  return {};
}

// What a driver other than "direct" leaves to it, for now or for good.
Result<void> check_driver(const toml::table& root, const Scenario& scenario) {
  const std::string& driver = scenario.driver();
  const auto refused = [&](const std::string& where, const std::string& why) {
    return fail(ErrorKind::bad_input, where + why);
  };
  const auto of_file = [&](const char* key) { return fmt::format("{}: {}: ", scenario.file, key); };
  for (std::size_t i = 0; i < scenario.sides.size(); ++i) {
    const SideScenario& side = scenario.sides[i];
    if (side.driver != driver) {
      return refused(place(root, scenario, "side", i, "driver"),
                     fmt::format("\"{}\" does not go with \"{}\" of side {}: all sides have one driver", side.driver,
                                 driver, scenario.sides.front().name));
    }
    if (driver != "libvirt" && !side.libvirt_env.empty()) {
      return refused(place(root, scenario, "side", i, "libvirt_env"),
                     fmt::format("driver \"{}\" has no libvirtd to give it to", driver));
    }
    if (driver != "direct" && !side.wrapper.empty()) {
      return refused(place(root, scenario, "side", i, "wrapper"),
                     fmt::format("driver \"{}\" starts QEMU itself, and can't start it through a wrapper", driver));
    }
  }
  if (driver == "direct") return {};
  const std::string needs = fmt::format("needs driver \"direct\"; sides have \"{}\"", driver);
  for (const auto& [name, weight] : scenario.modes) {
    const ops::Mode* mode = ops::find_mode(name, driver);
    if (mode == nullptr) {
      return refused(of_file("migration.mode"),
                     fmt::format("{} {}, which has: {}", name, needs, base::join(ops::mode_names(driver), ", ")));
    }
    if (std::find(mode->transports.begin(), mode->transports.end(), scenario.transport) == mode->transports.end()) {
      return refused(of_file("migration.transport"), fmt::format("{} {}, which has: {}", scenario.transport, needs,
                                                                 base::join(mode->transports, ", ")));
    }
  }
  MIGSOAK_TRY(check_plugging(scenario, *hypervisor::find_driver_kind(driver)));
  if (scenario.upgrade.used()) return refused(of_file("upgrade"), needs);
  const bool restarts_targets = std::any_of(scenario.restarts.begin(), scenario.restarts.end(),
                                            [](const RestartScenario& restart) { return restart.daemon.empty(); });
  if (restarts_targets) return refused(of_file("restart.target"), needs);
  if (scenario.raise_early) {
    return refused(of_file("run.raise_early"), needs + "; the destination is started within its migration");
  }
  for (std::size_t i = 0; i < scenario.targets.size(); ++i) {
    if (scenario.targets[i].share != TargetShare::per_vm) continue;
    return refused(place(root, scenario, "target", i, "share"), "a process per VM " + needs);
  }
  return {};
}

}  // namespace

Result<void> check_keys(const toml::table& root, const std::string& file) {
  return check_table(root, {}, file);
}

Result<void> check_scenario(const toml::table& root, const Scenario& scenario) {
  MIGSOAK_TRY(check_unique(root, scenario, "side", "name", scenario.sides, [](const auto& s) { return s.name; }));
  MIGSOAK_TRY(check_unique(root, scenario, "target", "name", scenario.targets, [](const auto& t) { return t.name; }));
  MIGSOAK_TRY(check_unique(root, scenario, "device", "id", scenario.devices, [](const auto& d) { return d.id; }));
  for (std::size_t i = 0; i < scenario.devices.size(); ++i) MIGSOAK_TRY(check_device(root, scenario, i));
  for (std::size_t i = 0; i < scenario.targets.size(); ++i) {
    const std::string& name = scenario.targets[i].name;
    const bool used = std::any_of(scenario.devices.begin(), scenario.devices.end(),
                                  [&](const DeviceScenario& device) { return device.target == name; }) ||
                      scenario.hotplug.target == name;
    if (!used) {
      return fail(ErrorKind::bad_input, place(root, scenario, "target", i, "name") +
                                            fmt::format("no [[device]] uses target '{}'", base::printable(name)));
    }
  }
  MIGSOAK_TRY(check_shares(root, scenario));
  MIGSOAK_TRY(check_hotplug(root, scenario));
  if (scenario.guest.machines.size() > 1 && scenario.lineage_iterations == 0) {
    return fail(ErrorKind::bad_input,
                fmt::format("{}: guest.machine: lineages take the machine types in turn, so a list "
                            "of them needs run.lineage, the iterations of one lineage",
                            scenario.file));
  }
  if (scenario.route == Route::pairs && (scenario.sides.size() < 2 || scenario.lineage_iterations == 0)) {
    return fail(ErrorKind::bad_input, fmt::format("{}: migration.route: \"pairs\" needs two sides or more, and "
                                                  "run.lineage, the iterations of one pair",
                                                  scenario.file));
  }
  if (scenario.sides.empty()) {
    return fail(ErrorKind::bad_input, fmt::format("{}: side: at least one [[side]] is needed", scenario.file));
  }
  MIGSOAK_TRY(check_driver(root, scenario));
  return {};
}

Result<void> check_name(const std::string& name) {
  const bool good = !name.empty() && name.size() <= 32 && name.front() != '.' && name.front() != '-' &&
                    std::all_of(name.begin(), name.end(), [](unsigned char c) {
                      return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
                    });
  if (good) return {};
  if (name.empty()) return fail(ErrorKind::bad_input, "is missing, and needed");
  return fail(ErrorKind::bad_input,
              fmt::format("'{}' is not a name: at most 32 letters, digits, '-', '_', '.'", base::printable(name)));
}

std::vector<std::string> target_kind_names() {
  std::vector<std::string> names;
  for (const auto& kind : target::target_kinds()) names.push_back(kind.name);
  return names;
}
std::vector<std::string> device_types() {
  return hypervisor::device_type_names();
}
std::vector<std::string> transport_choices() {
  return ops::transport_names();
}
std::string unknown_mode(const std::string& name) {
  if (ops::find_mode(name) != nullptr) return "";
  std::vector<std::string> names;
  for (const auto& mode : ops::modes()) names.push_back(mode.name);
  const std::string near = base::nearest_name(name, names);
  return fmt::format("'{}' is not a mode of this build; known: {}{}", base::printable(name), base::join(names, ", "),
                     near.empty() ? "" : fmt::format("; did you mean '{}'?", near));
}

}  // namespace migsoak::scenario
