// Internal to scenario: the key catalogue as the parser uses it. Includes toml++, so keep it out of other headers.
#pragma once

// Header-only: the packaged library is built with exceptions, and parse errors are values here.
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include <string>
#include <vector>

#include "scenario/scenario.h"

namespace migsoak::scenario {

// The spec of the key at this path (array elements take one word: "side", "b", "env", "X"), or null.
const KeySpec* find_key(const std::vector<std::string>& path);
// "a whole number": what a value of this type looks like, for messages.
const char* expected(KeyType type);
// The names that may stand directly under this path.
std::vector<std::string> known_children(const std::vector<std::string>& parent);
// One --set PATH=VALUE, applied to the document.
base::Result<void> apply_set(toml::table& root, const std::string& argument);

}  // namespace migsoak::scenario
