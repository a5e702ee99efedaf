// Internal to report: which side can send a guest to which. One cell per ordered pair, from a run whose route is
// "pairs" or whose iterations have more than two sides.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "record/finding.h"
#include "record/manifest.h"
#include "report/page.h"

namespace migsoak::store {
class Store;
}

namespace migsoak::report {

struct MatrixCell {
  std::int64_t passed = 0;   // migrations
  std::int64_t failed = 0;   // of these, unexplained or explained by a finding
  std::int64_t waived = 0;   // failed, and let pass by the scenario's [[gate.waive]]
  std::int64_t unknown = 0;  // nothing can be said
  std::int64_t interrupted = 0;
  bool boot = false, forth = false, back = false;  // what failed or was waived: see direction_of()
  std::set<std::size_t> findings;                  // of failed migrations; indices into the store's findings
  std::set<std::size_t> also;                      // of migrations that passed
  std::set<std::size_t> waives;                    // indices into Matrix::waives
  std::set<std::string> machines, failed_machines;
  double seconds = 0;

  bool fails() const { return failed > 0 || !also.empty(); }
  bool ran() const { return passed + failed + waived + unknown > 0; }
};

struct Matrix {
  // By the side on which the guest was booted, and the other side it was sent to and fro with (route "pairs"); else by
  // source and destination.
  bool by_boot = false;
  std::vector<record::SideInfo> sides;
  std::map<std::pair<std::string, std::string>, MatrixCell> cells;  // by names of sides
  std::vector<record::Waive> waives;                                // of the scenario, used or not

  const MatrixCell* find(const std::string& row, const std::string& column) const;
  // Version of a side's QEMU; empty: not known.
  std::string build_of(const std::string& side) const;
};

// Nothing when the run has no matrix.
base::Result<std::optional<Matrix>> matrix_of(const store::Store& store, const std::vector<record::Finding>& findings);
void print_matrix(Page& page, const Matrix& matrix, const std::vector<record::Finding>& findings);

// "20 ok", "3 ok ✗← #2", "–": failed on the way to the column's side →, on the way back ←, or at boot.
std::string cell_text(const MatrixCell& cell);
// "a (QEMU 7.2.22)"
std::string side_text(const record::SideInfo& side);
std::string waive_text(const record::Waive& waive);

}  // namespace migsoak::report
