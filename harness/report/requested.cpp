#include "report/requested.h"

// As engine includes it: parse errors are values here.
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include <algorithm>

namespace migsoak::report {

namespace {

void add_once(std::vector<std::string>& into, const std::string& name) {
  if (!name.empty() && std::find(into.begin(), into.end(), name) == into.end()) into.push_back(name);
}

void add_weighted(std::vector<std::string>& into, const toml::table* weights) {
  if (weights == nullptr) return;
  for (const auto& [name, weight] : *weights) {
    if (weight.value_or<std::int64_t>(0) > 0) add_once(into, std::string(name.str()));
  }
}

}  // namespace

Requested requested_of(const record::Manifest& manifest) {
  Requested requested;
  const toml::parse_result parsed = toml::parse(manifest.scenario_text);
  if (!parsed) return requested;
  const toml::table& root = parsed.table();
  requested.pairs = root["migration"]["route"].value_or<std::string>("") == "pairs";
  if (const toml::array* machines = root["guest"]["machine"].as_array()) {
    for (const toml::node& machine : *machines) add_once(requested.machines, machine.value_or<std::string>(""));
  } else {
    add_once(requested.machines, root["guest"]["machine"].value_or<std::string>(""));
  }
  const auto hotplug = root["hotplug"];
  add_weighted(requested.kinds, hotplug["kinds"].as_table());
  add_weighted(requested.timings, hotplug["timings"].as_table());
  if (const toml::array* steps = hotplug["step"].as_array()) {
    for (const toml::node& step : *steps) {
      if (const toml::table* table = step.as_table())
        add_once(requested.kinds, (*table)["kind"].value_or<std::string>(""));
    }
  }
  return requested;
}

}  // namespace migsoak::report
