// What is code in a source file, for the style rules. Sizes of functions are clang-tidy's business (.clang-tidy).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace migsoak::style {

// `text` with comments and the insides of string and character literals blanked; lines stay where they are.
std::string code_only(std::string_view text);

std::vector<std::string_view> lines_of(std::string_view text);
// Number, from 1, of the line that `offset` lies in.
int line_at(std::string_view text, std::size_t offset);

}  // namespace migsoak::style
