// Internal to report: how the matrix is filled from the iterations of a database.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "report/matrix.h"
#include "store/store.h"

namespace migsoak::report {

// Filled row by row, in the order of iterations.
class MatrixFold {
 public:
  // `findings` is borrowed.
  static base::Result<MatrixFold> begin(const store::Store& store, const std::vector<record::Finding>& findings);
  MatrixFold(MatrixFold&&) noexcept;
  ~MatrixFold();
  void take(const store::Store::IterationRow& row);
  // Nothing when the run has no matrix.
  std::optional<Matrix> conclude();

 private:
  struct Impl;
  explicit MatrixFold(std::unique_ptr<Impl> impl);
  friend base::Result<std::optional<Matrix>> matrix_of(const store::Store& store,
                                                       const std::vector<record::Finding>& findings);
  std::unique_ptr<Impl> impl_;
};

}  // namespace migsoak::report
