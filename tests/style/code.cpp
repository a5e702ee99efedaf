#include "code.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <regex>

namespace migsoak::style {

namespace {

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

// One pass over the text; blanks everything that is not code, newlines excepted.
class Blanker {
 public:
  explicit Blanker(std::string_view text) : out_(text) {}

  std::string run() {
    while (at_ < out_.size()) {
      if (starts("//")) {
        blank_until(out_.find('\n', at_));
      } else if (starts("/*")) {
        blank_past(out_.find("*/", at_ + 2), 2);
      } else if (starts("R\"") && (at_ == 0 || !is_word(out_[at_ - 1]))) {
        blank_raw_string();
      } else if (out_[at_] == '"' || (out_[at_] == '\'' && (at_ == 0 || !is_word(out_[at_ - 1])))) {
        blank_literal(out_[at_]);  // a quote after a word character separates digits: 1'000
      } else {
        ++at_;
      }
    }
    return std::move(out_);
  }

 private:
  bool starts(std::string_view token) const { return std::string_view(out_).substr(at_).starts_with(token); }

  void blank_until(std::size_t end) {
    end = std::min(end, out_.size());
    for (; at_ < end; ++at_) {
      if (out_[at_] != '\n') out_[at_] = ' ';
    }
  }
  void blank_past(std::size_t found, std::size_t length) {
    blank_until(found == std::string::npos ? found : found + length);
  }
  void blank_raw_string() {
    const std::size_t open = out_.find('(', at_);
    if (open == std::string::npos) return blank_until(open);
    const std::string close = ")" + out_.substr(at_ + 2, open - at_ - 2) + "\"";
    blank_past(out_.find(close, open), close.size());
  }
  void blank_literal(char quote) {
    std::size_t end = at_ + 1;
    while (end < out_.size() && out_[end] != quote && out_[end] != '\n') end += out_[end] == '\\' ? 2 : 1;
    blank_past(end < out_.size() ? end : std::string::npos, 1);
  }

  std::string out_;
  std::size_t at_ = 0;
};

// Preprocessor lines with their continuations: macros hold unbalanced braces.
std::string without_directives(std::string_view code) {
  std::string out;
  bool directive = false;
  for (const std::string_view line : lines_of(code)) {
    const std::size_t first = line.find_first_not_of(" \t");
    if (!directive && first != std::string_view::npos && line[first] == '#') directive = true;
    if (!directive) out += line;
    if (directive && !line.ends_with('\\')) directive = false;
    out += '\n';
  }
  return out;
}

enum class Scope : std::uint8_t { open, function, other };  // open: definitions may stand in it

Scope scope_of(std::string header) {
  static const std::regex declares(R"(^\s*(template\s*<.*>\s*)?(inline\s+)?(namespace|extern)\b[^()]*$)");
  static const std::regex type(
      R"((^|[\s>])(class|struct|union)\s+(\[\[.*\]\]\s*)?[\w:<>, ]*(\s*final)?\s*(:[^:].*)?$)");
  if (std::regex_search(header, declares)) return Scope::open;
  static const std::regex template_prefix(R"(^\s*template\s*<[^>]*>)");
  header = std::regex_replace(header, template_prefix, "");
  const std::size_t paren = header.find('(');
  if (paren == std::string::npos) return std::regex_search(header, type) ? Scope::open : Scope::other;
  // `auto x = make({`, `const T table = fn(`: an initialiser, not a body.
  const std::size_t equals = header.find('=');
  if (equals != std::string::npos && equals < paren && header.find("operator") == std::string::npos)
    return Scope::other;
  return Scope::function;
}

// The identifier before the first parenthesis; for TEST(Suite, Name) both arguments.
std::string function_name(const std::string& header) {
  static const std::regex test(R"(\bTEST(_F|_P)?\s*\(\s*(\w+)\s*,\s*(\w+)\s*\))");
  static const std::regex plain(R"(([\w:~]+)\s*\()");
  std::smatch match;
  if (std::regex_search(header, match, test)) return match[2].str() + "." + match[3].str();
  return std::regex_search(header, match, plain) ? match[1].str() : "?";
}

}  // namespace

std::string code_only(std::string_view text) {
  return Blanker(text).run();
}

std::vector<FunctionSpan> functions(std::string_view raw_code) {
  const std::string code = without_directives(raw_code);
  std::vector<FunctionSpan> found;
  std::vector<Scope> scopes;
  std::string header;
  int line = 1;
  int header_line = 1;
  int closed_depth = 0;  // braces inside a function or an initialiser
  for (const char c : code) {
    if (c == '\n') ++line;
    if (closed_depth > 0) {
      if (c == '{') ++closed_depth;
      if (c == '}' && --closed_depth == 0) {
        if (scopes.back() == Scope::function) found.back().lines = line - found.back().first_line + 1;
        scopes.pop_back();
        header.clear();
      }
      continue;
    }
    if (c == '{') {
      // `Foo() : a_{1}, b_(2) {`: the braces of a_ looked like a body; what follows belongs to the same function.
      const bool goes_on = !found.empty() && (header.empty() || header.front() == ',');
      scopes.push_back(goes_on ? Scope::function : scope_of(header));
      if (scopes.back() != Scope::open) closed_depth = 1;
      if (scopes.back() == Scope::function && !goes_on) found.push_back({function_name(header), header_line, 0});
      header.clear();
    } else if (c == '}' || c == ';') {
      if (c == '}' && !scopes.empty()) scopes.pop_back();
      header.clear();
    } else {
      const bool space = std::isspace(static_cast<unsigned char>(c)) != 0;
      if (header.empty() && space) continue;
      if (header.empty()) header_line = line;
      header += space ? ' ' : c;
    }
  }
  return found;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

int line_at(std::string_view text, std::size_t offset) {
  return 1 + static_cast<int>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(offset), '\n'));
}

}  // namespace migsoak::style
