// Internal to report: counts under headings, in groups. A table where it fits on the page, else a line of words per
// row.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "report/page.h"

namespace migsoak::report {

struct CountColumn {
  const char* over;  // first line of the heading, may be empty
  const char* name;
  bool always;  // shown when all are zero, too
};

inline constexpr std::int64_t kNotOnRecord = -1;  // a count that nobody took

// Longest times and counts out of a database that anybody may have written: whole, from 0 to 10^12.
std::int64_t bounded_count(double value);

class CountTable {
 public:
  CountTable(std::vector<std::string> key_names, std::vector<CountColumn> columns)
      : key_names_(std::move(key_names)), columns_(std::move(columns)) {}
  // As many keys as names, as many counts as columns; group and keys are printable and bounded. Rows of one group
  // follow each other.
  void row(const std::string& group, std::vector<std::string> keys, std::vector<std::int64_t> counts) {
    rows_.push_back({group, std::move(keys), std::move(counts)});
  }
  // As a table; else it is put there in words.
  bool fits(const Page& page) const;
  void put_on(Page& page) const;

 private:
  struct Row {
    std::string group;
    std::vector<std::string> keys;
    std::vector<std::int64_t> counts;
  };
  std::vector<std::size_t> shown() const;  // indices of columns
  Grid grid(const std::vector<std::size_t>& shown, std::size_t rows) const;
  std::string words(const Row& row, const std::vector<std::size_t>& shown) const;

  std::vector<std::string> key_names_;
  std::vector<CountColumn> columns_;
  std::vector<Row> rows_;
};

}  // namespace migsoak::report
