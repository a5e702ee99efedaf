#include "report/wishes.h"

// As engine includes it: parse errors are values here.
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include <algorithm>

namespace migsoak::report {

namespace {

void wish(std::vector<std::string>& into, const std::string& name) {
  if (!name.empty() && std::find(into.begin(), into.end(), name) == into.end()) into.push_back(name);
}

void wish_weighted(std::vector<std::string>& into, const toml::table* weights) {
  if (weights == nullptr) return;
  for (const auto& [name, weight] : *weights) {
    if (weight.value_or<std::int64_t>(0) > 0) wish(into, std::string(name.str()));
  }
}

}  // namespace

Wishes wishes_of(const record::Manifest& manifest) {
  Wishes wishes;
  const toml::parse_result parsed = toml::parse(manifest.scenario_text);
  if (!parsed) return wishes;
  const toml::table& root = parsed.table();
  wishes.pairs = root["migration"]["route"].value_or<std::string>("") == "pairs";
  if (const toml::array* machines = root["guest"]["machine"].as_array()) {
    for (const toml::node& machine : *machines) wish(wishes.machines, machine.value_or<std::string>(""));
  } else {
    wish(wishes.machines, root["guest"]["machine"].value_or<std::string>(""));
  }
  const auto hotplug = root["hotplug"];
  wish_weighted(wishes.kinds, hotplug["kinds"].as_table());
  wish_weighted(wishes.timings, hotplug["timings"].as_table());
  if (const toml::array* steps = hotplug["step"].as_array()) {
    for (const toml::node& step : *steps) {
      if (const toml::table* table = step.as_table()) wish(wishes.kinds, (*table)["kind"].value_or<std::string>(""));
    }
  }
  return wishes;
}

}  // namespace migsoak::report
