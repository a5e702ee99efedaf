#include "report/count_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.h"

namespace migsoak::report {

namespace {

constexpr std::size_t kCountRowsMax = 60;  // the rest is counted
constexpr double kCountMax = 1e12;

std::string count_cell(std::int64_t count) {
  return count == kNotOnRecord ? "–" : count == 0 ? "·" : std::to_string(count);
}

}  // namespace

std::int64_t bounded_count(double value) {
  if (std::isnan(value)) return 0;
  return static_cast<std::int64_t>(std::llround(std::clamp(value, 0.0, kCountMax)));
}

std::vector<std::size_t> CountTable::shown() const {
  std::vector<std::size_t> shown;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const bool counted = std::any_of(rows_.begin(), rows_.end(), [&](const Row& row) { return row.counts[i] > 0; });
    if (columns_[i].always || counted) shown.push_back(i);
  }
  return shown;
}

Grid CountTable::grid(const std::vector<std::size_t>& shown, std::size_t rows) const {
  Grid grid(key_names_.size());
  std::vector<std::string> over(key_names_.size()), heading = key_names_;
  for (const std::size_t i : shown) {
    over.emplace_back(columns_[i].over);
    heading.emplace_back(columns_[i].name);
  }
  if (std::any_of(over.begin(), over.end(), [](const std::string& cell) { return !cell.empty(); })) grid.row(over);
  grid.row(heading);
  for (std::size_t number = 0; number < rows; ++number) {
    const Row& row = rows_[number];
    if (number == 0 || row.group != rows_[number - 1].group) grid.row({row.group});
    std::vector<std::string> cells = row.keys;
    cells.front().insert(0, "  ");
    for (const std::size_t i : shown) cells.push_back(count_cell(row.counts[i]));
    grid.row(std::move(cells));
  }
  return grid;
}

std::string CountTable::words(const Row& row, const std::vector<std::size_t>& shown) const {
  std::vector<std::string> counts;
  for (const std::size_t i : shown) {
    const std::string over = columns_[i].over;
    if (row.counts[i] <= 0 && !columns_[i].always) continue;
    counts.push_back(fmt::format("{}{}{} {}", over, over.empty() ? "" : " ", columns_[i].name,
                                 row.counts[i] == kNotOnRecord ? "–" : std::to_string(row.counts[i])));
  }
  std::vector<std::string> keys = row.keys;
  std::erase(keys, "");
  return fmt::format("{} {}: {}", row.group, base::join(keys, " "), base::join(counts, ", "));
}

bool CountTable::fits(const Page& page) const {
  return grid(shown(), std::min(rows_.size(), kCountRowsMax)).width() <= page.width();
}

void CountTable::put_on(Page& page) const {
  const std::vector<std::size_t> columns = shown();
  const std::size_t rows = std::min(rows_.size(), kCountRowsMax);
  const Grid table = grid(columns, rows);
  if (table.width() <= page.width()) {
    table.put_on(page);
  } else {
    for (std::size_t i = 0; i < rows; ++i) page.paragraph(words(rows_[i], columns), 6);
  }
  if (rows_.size() > rows) {
    page.paragraph(fmt::format("and {} more", plural(static_cast<std::int64_t>(rows_.size() - rows), "row")));
  }
}

}  // namespace migsoak::report
