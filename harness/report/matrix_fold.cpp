#include "report/matrix_fold.h"

#include <algorithm>

#include "report/finding_index.h"
#include "report/requested.h"

namespace migsoak::report {

namespace {

using Row = store::Store::IterationRow;

constexpr std::size_t kSidesMax = 32;  // a hostile database may name any number

struct LineagePair {
  std::string boot, other;
  std::string machine;  // the type that was really used, where the record tells
};
using Lineages = std::map<std::pair<int, int>, LineagePair>;  // by lane and lineage

bool lets_pass(const Matrix& matrix, const record::Waive& waive, const Row& row, const std::string& boot) {
  const auto is = [&](const std::string& wanted, const std::string& side) {
    return wanted.empty() || wanted == side || wanted == matrix.build_of(side);
  };
  // A finding may blame the build that booted the guest instead of the one that sent it.
  return (is(waive.from, row.source) || is(waive.from, boot)) && is(waive.to, row.destination);
}

// The scenario's waives that fit best: those that are on record as used, and that name the sides.
std::set<std::size_t> waives_for(const Matrix& matrix, const std::set<std::string>& reasons_used, const Row& row,
                                 const std::string& boot) {
  std::set<std::size_t> best;
  int best_score = -1;
  for (std::size_t i = 0; i < matrix.waives.size(); ++i) {
    const record::Waive& waive = matrix.waives[i];
    if (!lets_pass(matrix, waive, row, boot)) continue;
    const int score =
        (reasons_used.contains(waive.reason) ? 4 : 0) + (waive.from.empty() ? 0 : 1) + (waive.to.empty() ? 0 : 1);
    if (score > best_score) best.clear();
    if (score >= best_score) best.insert(i);
    best_score = std::max(score, best_score);
  }
  return best;
}

base::Result<std::map<std::pair<int, int>, std::string>> machine_types(const store::Store& store) {
  std::map<std::pair<int, int>, std::string> types;
  MIGSOAK_TRY(store.for_each_event_at(
      record::event_kind::kLineageStart,
      [&](const store::Store::EventPlace& place, const record::Event& event) -> base::Result<void> {
        const std::string type = base::json_get<std::string>(event.detail, "machine_type", "");
        if (!type.empty()) types[{place.lane, place.lineage}] = type;
        return {};
      }));
  return types;
}

class Filler {
 public:
  Filler(Matrix& matrix, const std::vector<record::Finding>& findings, std::set<std::string> reasons_used)
      : matrix_(matrix), findings_(findings), index_(findings), reasons_used_(std::move(reasons_used)) {}
  void take(const Row& row, const LineagePair& lineage);

 private:
  void take_failure(MatrixCell& cell, const Row& row, const LineagePair& lineage);

  Matrix& matrix_;
  const std::vector<record::Finding>& findings_;
  FindingIndex index_;
  std::set<std::string> reasons_used_;
};

void Filler::take_failure(MatrixCell& cell, const Row& row, const LineagePair& lineage) {
  const bool forth = !matrix_.by_boot || row.source == lineage.boot;
  if (row.phase == "boot") {
    cell.boot = true;
  } else {
    (forth ? cell.forth : cell.back) = true;
  }
  if (!row.machine.empty()) cell.failed_machines.insert(row.machine);
  const std::set<std::size_t> why = index_.explaining(row);
  // The verdict knows: a waived failure is a pass.
  if (why.empty() && row.verdict == record::Verdict::pass) {
    const std::set<std::size_t> waives = waives_for(matrix_, reasons_used_, row, lineage.boot);
    cell.waives.insert(waives.begin(), waives.end());
    cell.waived += waives.empty() ? 0 : 1;
    cell.failed += waives.empty() ? 1 : 0;
    return;
  }
  ++cell.failed;
  cell.findings.insert(why.begin(), why.end());
}

void Filler::take(const Row& row, const LineagePair& lineage) {
  const auto key = matrix_.by_boot ? std::pair(lineage.boot, lineage.other) : std::pair(row.source, row.destination);
  MatrixCell& cell = matrix_.cells[key];
  cell.machines.insert(matrix_.by_boot ? lineage.machine : row.machine);
  cell.seconds += row.duration_ms / 1000.0;
  switch (row.status) {
    case record::IterationStatus::started: ++cell.interrupted; return;
    case record::IterationStatus::unknown: ++cell.unknown; return;
    case record::IterationStatus::failed:
    case record::IterationStatus::lost: take_failure(cell, row, lineage); return;
    case record::IterationStatus::completed: break;
  }
  ++cell.passed;
  for (const std::size_t i : index_.naming(row.iteration)) {
    if (findings_[i].severity == record::Severity::fail) cell.also.insert(i);
  }
}

}  // namespace

struct MatrixFold::Impl {
  Impl(const record::Manifest& manifest, const std::vector<record::Finding>& findings,
       std::set<std::string> reasons_used)
      : filler(matrix, findings, std::move(reasons_used)) {
    matrix.by_boot = requested_of(manifest).pairs;
    matrix.sides = manifest.sides;
    matrix.waives = manifest.gate.waives;
  }

  // To and fro between two sides is no matrix.
  bool is_possible() const { return matrix.by_boot || matrix.sides.size() >= 3; }

  Matrix matrix;
  Filler filler;
  std::map<std::pair<int, int>, std::string> types;  // of machines, by lane and lineage
  Lineages lineages;
  std::set<std::string> seen;  // sides
};

MatrixFold::MatrixFold(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
MatrixFold::MatrixFold(MatrixFold&&) noexcept = default;
MatrixFold::~MatrixFold() = default;

base::Result<MatrixFold> MatrixFold::begin(const store::Store& store, const std::vector<record::Finding>& findings) {
  MIGSOAK_ASSIGN(const std::vector<record::Exclusion> exclusions, store.exclusions());
  std::set<std::string> reasons_used;
  for (const record::Exclusion& exclusion : exclusions) {
    if (exclusion.name.starts_with("waive:")) reasons_used.insert(exclusion.reason);
  }
  auto impl = std::make_unique<Impl>(store.manifest(), findings, std::move(reasons_used));
  MIGSOAK_ASSIGN(impl->types, machine_types(store));
  return MatrixFold(std::move(impl));
}

void MatrixFold::take(const store::Store::IterationRow& row) {
  Impl& impl = *impl_;
  if (!impl.is_possible() || impl.seen.size() > kSidesMax) return;
  impl.seen.insert(row.source);
  impl.seen.insert(row.destination);
  const std::pair key(row.lane, row.lineage);
  LineagePair& pair = impl.lineages[key];
  if (pair.boot.empty()) pair.boot = row.source;
  if (pair.other.empty()) pair.other = row.source != pair.boot ? row.source : row.destination;
  if (pair.machine.empty()) {
    const auto type = impl.types.find(key);
    pair.machine = type != impl.types.end() ? type->second : row.machine;
  }
  impl.filler.take(row, pair);
}

std::optional<Matrix> MatrixFold::conclude() {
  const Matrix& matrix = impl_->matrix;
  const bool too_few = !impl_->is_possible() || (!matrix.by_boot && impl_->seen.size() < 3);
  if (matrix.cells.empty() || impl_->seen.size() > kSidesMax || too_few) return std::nullopt;
  return std::move(impl_->matrix);
}

base::Result<std::optional<Matrix>> matrix_of(const store::Store& store, const std::vector<record::Finding>& findings) {
  MIGSOAK_ASSIGN(MatrixFold fold, MatrixFold::begin(store, findings));
  if (!fold.impl_->is_possible()) return std::nullopt;
  MIGSOAK_TRY(store.for_each_iteration({}, [&](const Row& row, const store::Store::Values&) -> base::Result<void> {
    fold.take(row);
    return {};
  }));
  return fold.conclude();
}

}  // namespace migsoak::report
