// Version numbers as QEMU writes them: "10.0.13".
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace migsoak::base {

// "10.0.13" -> {10, 0, 13}; stops at what is no number, empty when it begins with none.
std::vector<int> version_parts(std::string_view version);
bool older_version(std::string_view a, std::string_view b);
// "10.0" is a prefix of "10.0.13" and of itself, not of "10.01".
bool is_version_prefix(std::string_view prefix, std::string_view version);
// "10.0.13" -> "10.0"
std::string major_minor(std::string_view version);

}  // namespace migsoak::base
