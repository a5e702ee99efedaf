#include "report/page.h"

#include <fmt/format.h>

#include <algorithm>

namespace migsoak::report {

namespace {

constexpr std::size_t kGridIndent = 2;
constexpr std::size_t kGridGap = 2;

}  // namespace

Page::Page(int width_columns, bool colour) : width_(std::clamp(width_columns, 40, 200)), colour_(colour) {}

std::string Page::ink(Ink ink, const std::string& text) const {
  if (!colour_ || ink == Ink::plain) return text;
  const char* code = ink == Ink::bad ? "1;31" : ink == Ink::warning ? "1;33" : ink == Ink::good ? "1;32" : "2";
  return fmt::format("\033[{}m{}\033[0m", code, text);
}

void Page::labelled(const std::string& label, const std::string& text, int lines_max) {
  out_ += ink(Ink::faint, fmt::format("{:<{}}", label, kLabelColumns)) + wrap(text, width_, kLabelColumns, lines_max) +
          "\n";
}

std::string cut_to(const std::string& text, std::size_t columns) {
  if (columns_of(text) <= columns) return text;
  std::string out = text;
  while (columns_of(out) + 1 > columns) {
    while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0xc0) == 0x80) out.pop_back();
    if (!out.empty()) out.pop_back();
  }
  return out + "…";
}

std::string plural(std::int64_t count, const char* one) {
  return fmt::format("{} {}{}", count, one, count == 1 ? "" : "s");
}

std::vector<std::size_t> Grid::widths() const {
  std::vector<std::size_t> widths;
  for (const std::vector<std::string>& row : rows_) {
    if (row.size() == 1) continue;
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], columns_of(row[i]));
  }
  return widths;
}

int Grid::width() const {
  std::size_t sum = kGridIndent;
  const std::vector<std::size_t> all = widths();
  for (std::size_t i = 0; i < all.size(); ++i) sum += all[i] + (i > 0 ? kGridGap : 0);
  for (const std::vector<std::string>& row : rows_) {
    if (row.size() == 1) sum = std::max(sum, kGridIndent + columns_of(row.front()));
  }
  return static_cast<int>(sum);
}

void Grid::put_on(Page& page) const {
  const std::vector<std::size_t> all = widths();
  for (std::size_t number = 0; number < rows_.size(); ++number) {
    std::string line(kGridIndent, ' ');
    for (std::size_t i = 0; i < rows_[number].size(); ++i) {
      const std::string& cell = rows_[number][i];
      const std::size_t width = i < all.size() && rows_[number].size() > 1 ? all[i] : columns_of(cell);
      const std::string space(width - columns_of(cell), ' ');
      line += std::string(i > 0 ? kGridGap : 0, ' ') + (i < left_ ? cell + space : space + cell);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    line = cut_to(line, static_cast<std::size_t>(page.width()));
    page.line(number == 0 ? page.ink(Page::Ink::faint, line) : line);
  }
}

}  // namespace migsoak::report
