// Markdown that others show: text that came from guests, logs and files, made harmless.
#pragma once

#include <string>

namespace migsoak::report {

// Every byte that Markdown or the HTML in it could take for its own is written as a reference, and what some renderers
// take for a link, a mention or an issue. Stays in one line. `text` is printable already.
std::string markdown_text(const std::string& text);

}  // namespace migsoak::report
