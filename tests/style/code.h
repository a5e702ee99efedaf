// Just enough C++ lexing for the style rules: what is code, and where functions begin and end.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace migsoak::style {

// `text` with comments and the insides of string and character literals blanked; lines stay where they are.
std::string code_only(std::string_view text);

struct FunctionSpan {
  std::string name;
  int first_line = 0;  // of its header
  int lines = 0;       // header and closing brace included
};
// Function definitions outside of other functions. Takes the output of code_only.
std::vector<FunctionSpan> functions(std::string_view code);

std::vector<std::string_view> lines_of(std::string_view text);
// Number, from 1, of the line that `offset` lies in.
int line_at(std::string_view text, std::size_t offset);

}  // namespace migsoak::style
