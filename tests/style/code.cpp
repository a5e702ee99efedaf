#include "code.h"

#include <algorithm>
#include <cctype>

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

}  // namespace

std::string code_only(std::string_view text) {
  return Blanker(text).run();
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
