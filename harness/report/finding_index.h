// Internal to report: which findings name an iteration, looked up once for a million rows that ask.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "record/finding.h"
#include "store/store.h"

namespace migsoak::report {

class FindingIndex {
 public:
  explicit FindingIndex(const std::vector<record::Finding>& findings);
  // Those that name the iteration, as indices, in their order.
  const std::vector<std::size_t>& naming(std::int64_t iteration) const;
  // Of a migration that failed. Lists of iterations are bounded: beyond them the span and the direction have to do.
  std::set<std::size_t> explaining(const store::Store::IterationRow& row) const;

 private:
  struct Span {
    std::size_t finding;
    std::int64_t first, last;
    std::string from, to;
  };
  std::unordered_map<std::int64_t, std::vector<std::size_t>> by_iteration_;
  std::vector<Span> spans_;
};

}  // namespace migsoak::report
