// A scenario document: what was read, beside the text's tables, which know the lines. For the checks that have to plan
// first (plan/load.h). Includes toml++: keep it out of other headers.
#pragma once

#include <string>
#include <vector>

#include "scenario/keys.h"

namespace migsoak::scenario {

struct Document {
  toml::table root;
  Scenario scenario;
};

// Parsed, --set applied, keys and values checked, references resolved; not yet: whether what it asks for can be
// planned. Error kind bad_input; the message names file, line and key.
base::Result<Document> read_document(const std::string& text, const std::string& file, const std::string& directory,
                                     const std::vector<std::string>& sets);

}  // namespace migsoak::scenario
