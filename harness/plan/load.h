// A scenario, from its file to the point where every iteration of it can be planned.
#pragma once

#include <string>
#include <vector>

#include "scenario/scenario.h"

namespace migsoak::plan {

// `sets` are the --set arguments, PATH=VALUE. Error kind bad_input; the message names file, line and key.
base::Result<scenario::Scenario> load_scenario(const std::string& file, const std::vector<std::string>& sets);
// The same from its text. Relative paths are relative to `directory`.
base::Result<scenario::Scenario> parse_scenario(const std::string& text, const std::string& file,
                                                const std::string& directory, const std::vector<std::string>& sets);

}  // namespace migsoak::plan
