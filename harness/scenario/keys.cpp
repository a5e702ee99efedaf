// The catalogue of scenario keys and the --set arguments that address them.
#include "scenario/keys.h"

#include <fmt/format.h>

#include <charconv>

#include "base/text.h"
#include "detect/judge.h"

namespace migsoak::scenario {

using base::ErrorKind;
using base::fail;
using base::Result;

// A table: one line per key of the scenario file.
const std::vector<KeySpec>& scenario_keys() {  // NOLINT(readability-function-size)
  static const std::vector<KeySpec> keys = [] {
    using enum KeyType;
    std::vector<KeySpec> list = {{"name", string},
                                 {"summary", string},
                                 {"iterations", integer},
                                 {"seed", integer},
                                 {"guest", table},
                                 {"guest.machine", string_or_list},
                                 {"guest.memory", size},
                                 {"guest.cpus", integer},
                                 {"guest.accel", string},
                                 {"guest.avoid_known_defects", boolean},
                                 {"guest.workload", string},
                                 {"guest.ram_verify", size},
                                 {"guest.disk_verify", size},
                                 {"guest.dirty_rate", size},
                                 {"guest.disk_rate", size},
                                 {"guest.queue_depth", integer},
                                 {"side", table_list},
                                 {"side.*.name", string},
                                 {"side.*.driver", string},
                                 {"side.*.qemu", string},
                                 {"side.*.env", env},
                                 {"side.*.env.*", string},
                                 {"side.*.libvirt_env", env},
                                 {"side.*.libvirt_env.*", string},
                                 {"side.*.wrapper", string_list},
                                 {"side.*.extra_args", string_list},
                                 {"target", table_list},
                                 {"target.*.name", string},
                                 {"target.*.kind", string},
                                 {"target.*.share", string},
                                 {"target.*.nofile", integer},
                                 {"target.*.env", env},
                                 {"target.*.env.*", string},
                                 {"target.*.wrapper", string_list},
                                 {"target.*.argv", string_list},
                                 {"target.*.binary", string},
                                 {"target.*.executable", string},
                                 {"target.*.options", table},
                                 {"target.*.options.*", option},
                                 {"target.*.aio", string},
                                 {"target.*.workers", integer},
                                 {"target.*.size", size},
                                 {"device", table_list},
                                 {"device.*.id", string},
                                 {"device.*.type", string},
                                 {"device.*.target", string},
                                 {"device.*.size", size},
                                 {"device.*.io", string},
                                 {"device.*.reconnect_ms", integer},
                                 {"device.*.props", props},
                                 {"device.*.props.*", props},
                                 {"device.*.on", table},
                                 {"device.*.on.*", props},
                                 {"device.*.on.*.*", props},
                                 {"migration", table},
                                 {"migration.mode", list_or_weights},
                                 {"migration.mode.*", integer},
                                 {"migration.edge", table_list},
                                 {"migration.edge.*.mode", string},
                                 {"migration.edge.*.from", string_or_list},
                                 {"migration.edge.*.to", string_or_list},
                                 {"migration.edge.*.expect", string},
                                 {"migration.edge.*.reason", string},
                                 {"migration.edge.*.at", integer},
                                 {"migration.transport", string},
                                 {"migration.route", string},
                                 {"migration.libvirt", table},
                                 {"migration.libvirt.managed", string_or_list},
                                 {"migration.libvirt.transport", string_or_list},
                                 {"migration.libvirt.flags", list_or_weights},
                                 {"migration.libvirt.flags.*", integer},
                                 {"migration.libvirt.bandwidth_mib", integer},
                                 {"migration.libvirt.parallel_connections", integer},
                                 {"run", table},
                                 {"run.on_loss", string},
                                 {"run.raise_early", boolean},
                                 {"run.lineage", integer},
                                 {"run.failures_max", integer},
                                 {"run.config_space", boolean},
                                 {"run.device_tree", boolean},
                                 {"run.boot_deadline_s", integer},
                                 {"run.spawn_deadline_s", integer},
                                 {"run.migrate_deadline_s", integer},
                                 {"run.answer_deadline_s", integer},
                                 {"run.quit_deadline_s", integer},
                                 {"hotplug", table},
                                 {"hotplug.operations", integer},
                                 {"hotplug.plugged_max", integer},
                                 {"hotplug.plug_on", string},
                                 {"hotplug.sweep", integer},
                                 {"hotplug.ports", integer},
                                 {"hotplug.target", string},
                                 {"hotplug.keep", string_list},
                                 {"hotplug.size", size},
                                 {"hotplug.kinds", table},
                                 {"hotplug.kinds.*", integer},
                                 {"hotplug.timings", table},
                                 {"hotplug.timings.*", integer},
                                 {"hotplug.props", table},
                                 {"hotplug.props.*", props},
                                 {"hotplug.props.*.*", props},
                                 {"hotplug.on", table},
                                 {"hotplug.on.*", table},
                                 {"hotplug.on.*.*", props},
                                 {"hotplug.on.*.*.*", props},
                                 {"hotplug.step", table_list},
                                 {"hotplug.step.*.iteration", integer},
                                 {"hotplug.step.*.action", string},
                                 {"hotplug.step.*.kind", string},
                                 {"hotplug.step.*.device", string},
                                 {"hotplug.step.*.address", string},
                                 {"hotplug.step.*.timing", string},
                                 {"upgrade", table},
                                 {"upgrade.failure", string_or_list},
                                 {"upgrade.every", integer},
                                 {"upgrade.deadline_s", integer},
                                 {"restart", table_list},
                                 {"restart.*.target", string},
                                 {"restart.*.daemon", string},
                                 {"restart.*.how", string_or_list},
                                 {"restart.*.timing", string_or_list},
                                 {"restart.*.every", integer},
                                 {"restart.*.expect", string},
                                 {"gate", table},
                                 {"gate.report_benign", string_list},
                                 {"gate.waive", table_list},
                                 {"gate.waive.*.detector", string},
                                 {"gate.waive.*.device", string},
                                 {"gate.waive.*.from", string},
                                 {"gate.waive.*.to", string},
                                 {"gate.waive.*.kind", string},
                                 {"gate.waive.*.process", string},
                                 {"gate.waive.*.restart", string},
                                 {"gate.waive.*.reason", string}};
    for (const auto& info : detect::detectors()) list.push_back({"gate." + info.name, string});
    for (const auto& limit : detect::gate_limits()) list.push_back({"gate." + limit.name, integer});
    return list;
  }();
  return keys;
}

const char* expected(KeyType type) {
  switch (type) {
    case KeyType::string: return "a string";
    case KeyType::integer: return "a whole number";
    case KeyType::boolean: return "true or false";
    case KeyType::size: return "a size, like \"128MiB\"";
    case KeyType::string_list: return "a list of strings";
    case KeyType::string_or_list: return "a string or a list of strings";
    case KeyType::list_or_weights: return "a string, a list of strings, or a table of weights, like {precopy = 3}";
    case KeyType::env: return "a table of strings, like {NAME = \"value\"}";
    case KeyType::props: return "a string, number, boolean, or a table of them";
    case KeyType::option: return "a string, number, boolean, or a list of strings";
    case KeyType::table: return "a table";
    case KeyType::table_list: return "an array of tables, like [[name]]";
  }
  return "?";
}

namespace {

bool matches(const std::vector<std::string>& pattern, const std::vector<std::string>& path) {
  if (pattern.size() != path.size()) return false;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (pattern[i] != "*" && pattern[i] != path[i]) return false;
  }
  return true;
}

}  // namespace

const KeySpec* find_key(const std::vector<std::string>& path) {
  for (const KeySpec& key : scenario_keys()) {
    if (matches(base::split(key.pattern, '.'), path)) return &key;
  }
  return nullptr;
}

std::vector<std::string> known_children(const std::vector<std::string>& parent) {
  std::vector<std::string> names;
  for (const KeySpec& key : scenario_keys()) {
    std::vector<std::string> pattern = base::split(key.pattern, '.');
    if (pattern.size() != parent.size() + 1 || pattern.back() == "*") continue;
    const std::string last = pattern.back();
    pattern.pop_back();
    if (matches(pattern, parent)) names.push_back(last);
  }
  return names;
}

namespace {

// The keys under which an array's tables are addressed.
const char* array_name_key(const std::string& array) {
  if (array == "device") return "id";
  if (array == "gate.waive") return "detector";
  if (array == "migration.edge") return "mode";
  if (array == "restart") return "target";
  return "name";
}

Result<toml::table> parse_value(KeyType type, const std::string& text, const std::string& argument) {
  toml::parse_result parsed = toml::parse("value = " + text);
  if (!parsed) {
    return fail(ErrorKind::bad_input, fmt::format("--set {}: expected {}", base::printable(argument), expected(type)));
  }
  // More than the value: a line break in it began another key.
  if (parsed.table().size() != 1) {
    return fail(ErrorKind::bad_input, fmt::format("--set {}: one value, on one line", base::printable(argument)));
  }
  return std::move(parsed).table();
}

std::string quoted(const std::string& text) {
  return base::dump_json(base::Json(text));  // a JSON string is a valid TOML basic string
}

// The text after '=' as TOML source, by the key's type.
std::string value_source(KeyType type, const std::string& text) {
  switch (type) {
    case KeyType::string: return quoted(text);
    case KeyType::list_or_weights:
      if (text.starts_with("{")) return text;
      [[fallthrough]];
    case KeyType::string_or_list: return text.starts_with("[") ? text : quoted(text);
    case KeyType::size: {
      const bool number = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
      return number ? text : quoted(text);
    }
    case KeyType::string_list: {
      if (text.starts_with("[")) return text;
      if (text.empty()) return "[]";
      std::vector<std::string> words;
      for (const std::string& word : base::split(text, ',')) words.push_back(quoted(word));
      return "[" + base::join(words, ", ") + "]";
    }
    case KeyType::option:
      if (text.starts_with("[")) return text;
      [[fallthrough]];
    case KeyType::props: {  // a device property: a TOML scalar if it reads as one, else a string
      const toml::parse_result parsed = toml::parse("value = " + text);
      return parsed && !parsed.table()["value"].is_date() ? text : quoted(text);
    }
    default: return text;
  }
}

// Walks to the table that holds the last word of the path, making tables on the way.
Result<toml::table*> descend(toml::table& root, const std::vector<std::string>& path, const std::string& argument) {
  toml::table* here = &root;
  std::string walked;
  for (std::size_t i = 0; i + 1 < path.size(); ++i) {
    walked += (walked.empty() ? "" : ".") + path[i];
    const KeySpec* key = find_key({path.begin(), path.begin() + static_cast<std::ptrdiff_t>(i) + 1});
    toml::node* next = here->get(path[i]);
    if (key != nullptr && key->type == KeyType::table_list) {
      const std::string& wanted = path[++i];
      const char* name_key = array_name_key(walked);
      toml::array* array = next != nullptr ? next->as_array() : nullptr;
      toml::table* found = nullptr;
      std::vector<std::string> names;
      for (std::size_t at = 0; array != nullptr && at < array->size(); ++at) {
        toml::table* item = array->get_as<toml::table>(at);
        auto name = item != nullptr ? (*item)[name_key].value<std::string>() : std::nullopt;
        // A restart is that of a target or of a daemon.
        if (!name && item != nullptr && walked == "restart") name = (*item)["daemon"].value<std::string>();
        if (name) names.push_back(*name);
        if (name == wanted) found = item;
      }
      if (found == nullptr) {
        return fail(ErrorKind::bad_input,
                    fmt::format("--set {}: no [[{}]] with {} = \"{}\"; there {}: {}", base::printable(argument), walked,
                                name_key, base::printable(wanted), names.size() == 1 ? "is" : "are",
                                names.empty() ? "none" : base::join(names, ", ")));
      }
      walked += "." + wanted;
      here = found;
      continue;
    }
    if (next == nullptr) next = &here->insert_or_assign(path[i], toml::table{}).first->second;
    if (!next->is_table()) {
      return fail(ErrorKind::bad_input, fmt::format("--set {}: {} is not a table", base::printable(argument), walked));
    }
    here = next->as_table();
  }
  return here;
}

}  // namespace

Result<void> apply_set(toml::table& root, const std::string& argument) {
  const std::size_t equals = argument.find('=');
  if (equals == std::string::npos || equals == 0) {
    return fail(ErrorKind::bad_input, fmt::format("--set {}: expected PATH=VALUE, e.g. --set guest.memory=256MiB",
                                                  base::printable(argument)));
  }
  const std::string text = argument.substr(equals + 1);
  const std::vector<std::string> path = base::split(argument.substr(0, equals), '.');
  const KeySpec* key = find_key(path);
  if (key == nullptr) {
    std::vector<std::string> parent(path.begin(), path.end() - 1);
    const std::string near = base::nearest_name(path.back(), known_children(parent));
    return fail(ErrorKind::bad_input, fmt::format("--set {}: unknown key '{}'{}", base::printable(argument),
                                                  base::printable(argument.substr(0, equals)),
                                                  near.empty() ? std::string("; scenarios/README.md lists all keys")
                                                               : fmt::format(", did you mean '{}'?", near)));
  }
  if (key->type == KeyType::table || key->type == KeyType::table_list) {
    return fail(ErrorKind::bad_input,
                fmt::format("--set {}: '{}' is a table, set one of its keys: {}", base::printable(argument),
                            argument.substr(0, equals), base::join(known_children(path), ", ")));
  }
  MIGSOAK_ASSIGN(toml::table * table, descend(root, path, argument));
  MIGSOAK_ASSIGN(toml::table value, parse_value(key->type, value_source(key->type, text), argument));
  table->insert_or_assign(path.back(), *value.get("value"));
  return {};
}

Result<std::uint64_t> parse_size(const std::string& text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  int shift = -1;
  if (unit.empty() || unit == "B") shift = 0;
  if (unit == "KiB") shift = 10;
  if (unit == "MiB") shift = 20;
  if (unit == "GiB") shift = 30;
  if (error != std::errc() || shift < 0 || number > (UINT64_MAX >> 20 >> shift)) {
    return fail(ErrorKind::bad_input, fmt::format("'{}' is not a size; write e.g. \"128MiB\"", base::printable(text)));
  }
  return number << shift;
}

}  // namespace migsoak::scenario
