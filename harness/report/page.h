// Internal to report: a page of text for a terminal, and tables on it.
#pragma once

#include <string>
#include <vector>

#include "report/figures.h"

namespace migsoak::report {

inline constexpr int kLabelColumns = 13;

class Page {
 public:
  // Widths beyond 40..200 are taken as these.
  Page(int width_columns, bool colour);

  enum class Ink { plain, bad, warning, good, faint };
  std::string ink(Ink ink, const std::string& text) const;
  void line(const std::string& text) { out_ += text + "\n"; }
  // "label        text", wrapped under itself.
  void labelled(const std::string& label, const std::string& text, int lines_max = 2);
  void paragraph(const std::string& text, int lines_max = 2) { out_ += "  " + wrap(text, width_, 2, lines_max) + "\n"; }
  int width() const { return width_; }
  std::string take() { return std::move(out_); }

 private:
  int width_;
  bool colour_;
  std::string out_;
};

// Cells in columns as wide as their widest; the first row is the heading. The first `left` columns stand on the left,
// the others on the right. A row of one cell runs on over the columns.
class Grid {
 public:
  explicit Grid(std::size_t left) : left_(left) {}
  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  int width() const;              // columns of the terminal, indented by two
  void put_on(Page& page) const;  // a line that is wider than the page is cut

 private:
  std::vector<std::size_t> widths() const;

  std::size_t left_;
  std::vector<std::vector<std::string>> rows_;
};

// The first columns of it, "…" where something was cut.
std::string cut_to(const std::string& text, std::size_t columns);
// "1 lineage", "2 lineages"
std::string plural(std::int64_t count, const char* one);

}  // namespace migsoak::report
