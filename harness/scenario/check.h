// Internal to scenario: checks of a scenario document: names, types, references.
#pragma once

#include <string>
#include <vector>

#include "scenario/keys.h"

namespace migsoak::scenario {

// Unknown keys and wrong types, each with file, line and what was expected.
base::Result<void> check_keys(const toml::table& root, const std::string& file);
// What spans several keys: duplicate ids, references to targets and sides, devices that need one.
base::Result<void> check_scenario(const toml::table& root, const Scenario& scenario);
// Letters, digits, '-', '_', '.'; at most 32: it goes into process names, socket paths and file names.
base::Result<void> check_name(const std::string& name);

std::vector<std::string> target_kind_names();
std::vector<std::string> device_types();
std::vector<std::string> transport_choices();
// Empty when the mode exists, else the message.
std::string unknown_mode(const std::string& name);

}  // namespace migsoak::scenario
