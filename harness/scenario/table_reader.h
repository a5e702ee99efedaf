// Internal to scenario: reading the values of one table of a scenario. Keys and types have been checked before
// (scenario/check.h); what is checked here is ranges and choices.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/text.h"
#include "scenario/keys.h"

namespace migsoak::scenario {

// Reads one table whose keys and types validate() has already checked.
class TableReader {
 public:
  TableReader(const toml::table& table, const std::string& file, std::string path)
      : table_(table), file_(file), path_(std::move(path)) {}

  tl::unexpected<base::Error> error(const char* key, const std::string& what) const {
    return base::fail(base::ErrorKind::bad_input, where(table_.get(key), key) + what);
  }
  std::string where(const toml::node* node, const std::string& key) const {
    const std::string full = path_.empty() ? key : path_ + "." + key;
    const auto line = node != nullptr ? node->source().begin.line : table_.source().begin.line;
    // Nodes that --set made have no line.
    return line != 0 ? fmt::format("{}:{}: {}: ", file_, line, full) : fmt::format("{}: {}: ", file_, full);
  }

  void read(const char* key, std::string& out) const {
    if (const auto value = table_[key].value<std::string>()) out = *value;
  }
  void read(const char* key, bool& out) const {
    if (const auto value = table_[key].value<bool>()) out = *value;
  }
  void read(const char* key, std::vector<std::string>& out) const {
    const toml::array* array = table_[key].as_array();
    if (array == nullptr) return;
    out.clear();
    for (const toml::node& item : *array) out.push_back(*item.value<std::string>());
  }
  // A list, or one string that stands for a list of one.
  void read_list(const char* key, std::vector<std::string>& out) const {
    if (table_[key].is_array()) {
      read(key, out);
    } else if (const auto value = table_[key].value<std::string>()) {
      out = {*value};
    }
  }
  void read(const char* key, std::map<std::string, std::string>& out) const {
    const toml::table* env = table_[key].as_table();
    if (env == nullptr) return;
    for (const auto& [name, value] : *env) out[std::string(name.str())] = *value.value<std::string>();
  }
  template <typename Integer>
  base::Result<void> read_integer(const char* key, Integer& out, std::int64_t least, std::int64_t most) const {
    const auto value = table_[key].value<std::int64_t>();
    if (!value) return {};
    if (*value < least || *value > most) {
      return error(key, fmt::format("{} is out of range, expected {} to {}", *value, least, most));
    }
    out = static_cast<Integer>(*value);
    return {};
  }
  base::Result<void> read_size(const char* key, std::uint64_t& out, std::uint64_t least, std::uint64_t most) const {
    const toml::node* node = table_.get(key);
    if (node == nullptr) return {};
    std::uint64_t bytes = 0;
    if (node->is_integer()) {
      bytes = static_cast<std::uint64_t>(std::max<std::int64_t>(0, *node->value<std::int64_t>()));
    } else {
      const base::Result<std::uint64_t> parsed = parse_size(*node->value<std::string>());
      if (!parsed) return error(key, parsed.error().message);
      bytes = *parsed;
    }
    if (bytes < least || bytes > most) {
      return error(key, fmt::format("{} bytes is out of range, expected {} to {}", bytes, least, most));
    }
    out = bytes;
    return {};
  }
  // One of `allowed`, else an error with the nearest.
  base::Result<void> read_choice(const char* key, std::string& out, const std::vector<std::string>& allowed) const {
    read(key, out);
    return check_choice(key, out, allowed);
  }
  base::Result<void> check_choice(const char* key, const std::string& name,
                                  const std::vector<std::string>& allowed) const {
    if (std::find(allowed.begin(), allowed.end(), name) != allowed.end()) return {};
    const std::string near = base::nearest_name(name, allowed);
    return error(key, fmt::format("'{}' is not one of {}{}", base::printable(name), base::join(allowed, ", "),
                                  near.empty() ? "" : fmt::format("; did you mean '{}'?", near)));
  }
  // A table of NAME = WEIGHT; nothing when the key is not there, or no table.
  base::Result<void> read_weights(const char* key, const std::vector<std::string>& known,
                                  std::vector<std::pair<std::string, std::uint64_t>>& out) const {
    const toml::table* weights = table_[key].as_table();
    if (weights == nullptr) return {};
    std::uint64_t total = 0;
    for (const auto& [name_key, node] : *weights) {
      const std::string name(name_key.str());
      MIGSOAK_TRY(check_choice(key, name, known));
      const std::int64_t weight = node.template value<std::int64_t>().value_or(0);
      if (weight < 0 || weight > 1000) return error(key, fmt::format("{}: a weight is 0 to 1000", name));
      total += static_cast<std::uint64_t>(weight);
      out.emplace_back(name, weight);
    }
    if (total == 0) return error(key, "at least one weight must be above 0");
    return {};
  }
  const toml::table& table() const { return table_; }
  const std::string& file() const { return file_; }

 private:
  const toml::table& table_;
  const std::string& file_;
  std::string path_;
};

inline base::Json scalar_to_json(const toml::node& node) {
  if (const auto boolean = node.value_exact<bool>()) return *boolean;
  if (const auto integer = node.value_exact<std::int64_t>()) return *integer;
  if (const auto number = node.value_exact<double>()) return *number;
  return node.value<std::string>().value_or("");
}

inline std::map<std::string, base::Json> read_props(const toml::table* table) {
  std::map<std::string, base::Json> props;
  if (table == nullptr) return props;
  for (const auto& [name, value] : *table) props[std::string(name.str())] = scalar_to_json(value);
  return props;
}

// A path with a slash is relative to the scenario's directory; a bare name is looked up in PATH.
void resolve_path(std::string& path, const std::string& directory);
// A [[target]].
base::Result<TargetScenario> read_target(const TableReader& in, const std::string& directory);
// [migration]
base::Result<void> read_migration(const TableReader& in, Scenario& scenario);
// [migration.libvirt]; sides and migration.transport have been read.
base::Result<void> read_libvirt(const TableReader& in, Scenario& scenario);
// What [[migration.edge]] must not say of the last iteration and of pairs. Whether each leg has a mode: plan/load.cpp.
base::Result<void> check_migration(const toml::table& root, const Scenario& scenario);
// [upgrade]
base::Result<void> read_upgrade(const TableReader& in, UpgradeScenario& upgrade);
// Each of its failures can happen in some mode of the scenario.
base::Result<void> check_upgrade(const toml::table& root, const Scenario& scenario);
// A [[restart]]; targets, devices, modes and [hotplug] have been read.
base::Result<void> read_restart(const TableReader& in, Scenario& scenario);
// [hotplug]
base::Result<void> read_hotplug(const TableReader& in, HotplugScenario& hotplug);

}  // namespace migsoak::scenario
