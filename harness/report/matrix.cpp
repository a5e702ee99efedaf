#include "report/matrix.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/text.h"
#include "report/finding_index.h"
#include "report/wishes.h"

namespace migsoak::report {

namespace {

using Row = store::Store::IterationRow;

constexpr std::size_t kSidesMax = 32;          // a hostile database may name any number
constexpr std::size_t kFindingsInCellMax = 2;  // the others are counted
constexpr std::size_t kFindingsListedMax = 12;

struct LineagePair {
  std::string boot, other;
  std::string machine;  // the type that was really used, where the record tells
};
using Lineages = std::map<std::pair<int, int>, LineagePair>;  // by lane and lineage

std::string build_of_side(const Matrix& matrix, const std::string& name) {
  for (const record::SideInfo& side : matrix.sides) {
    if (side.name == name) return side.qemu_version;
  }
  return "";
}

bool lets_pass(const Matrix& matrix, const record::Waive& waive, const Row& row, const std::string& boot) {
  const auto is = [&](const std::string& wanted, const std::string& side) {
    return wanted.empty() || wanted == side || wanted == build_of_side(matrix, side);
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

std::string numbers_text(const std::set<std::size_t>& findings) {
  std::vector<std::string> numbers;
  for (const std::size_t i : findings) {
    if (numbers.size() < kFindingsInCellMax) numbers.push_back(std::to_string(i + 1));
  }
  return "#" + base::join(numbers, ",") + (findings.size() > kFindingsInCellMax ? "…" : "");
}

// Of what failed: "→", "←", "⇄", "boot".
std::string direction_of(const MatrixCell& cell) {
  if (cell.forth && cell.back) return "⇄";
  if (cell.forth) return "→";
  return cell.back ? "←" : cell.boot ? "boot" : "";
}

std::string label_of(const Matrix& matrix, const std::string& side, bool with_version) {
  const std::string name = base::printable(side, 40);
  const std::string version = base::printable(build_of_side(matrix, side), 40);
  return !with_version || version.empty() || name.find(version) != std::string::npos ? name : name + " " + version;
}

Grid grid_of(const Matrix& matrix) {
  Grid grid(matrix.sides.size() + 1);
  std::vector<std::string> heading = {matrix.by_boot ? "booted on ↓" : "from ↓  to →"};
  for (const record::SideInfo& side : matrix.sides) heading.push_back(label_of(matrix, side.name, false));
  grid.row(heading);
  for (const record::SideInfo& row : matrix.sides) {
    std::vector<std::string> cells = {label_of(matrix, row.name, true)};
    for (const record::SideInfo& column : matrix.sides) {
      const MatrixCell* cell = matrix.find(row.name, column.name);
      cells.push_back(cell != nullptr ? cell_text(*cell) : row.name == column.name ? "" : "–");
    }
    grid.row(cells);
  }
  return grid;
}

// Where the table is too wide: a line per pair.
Grid list_of(const Matrix& matrix) {
  Grid grid(3);
  grid.row({matrix.by_boot ? "booted on" : "from", matrix.by_boot ? "other" : "to", ""});
  for (const record::SideInfo& row : matrix.sides) {
    for (const record::SideInfo& column : matrix.sides) {
      const MatrixCell* cell = matrix.find(row.name, column.name);
      if (row.name == column.name && cell == nullptr) continue;
      grid.row({label_of(matrix, row.name, true), label_of(matrix, column.name, true),
                cell != nullptr ? cell_text(*cell) : "–"});
    }
  }
  return grid;
}

std::string totals_of(const Matrix& matrix) {
  std::int64_t pass = 0, fail = 0, waived = 0, unknown = 0, migrations = 0;
  std::int64_t ran = 0;
  for (const auto& [pair, cell] : matrix.cells) {
    migrations += cell.passed;
    if (pair.first == pair.second) continue;  // two processes of one side
    ++ran;
    ++(cell.fails() ? fail : cell.waived > 0 ? waived : cell.unknown > 0 || !cell.ran() ? unknown : pass);
  }
  const auto count = static_cast<std::int64_t>(matrix.sides.size());
  std::string words =
      fmt::format("{} of {} ordered pairs pass, {} fail, {} waived", pass, count * (count - 1), fail, waived);
  if (unknown > 0) words += fmt::format(", {} unknown", unknown);
  if (ran < count * (count - 1)) words += fmt::format(", {} not run", count * (count - 1) - ran);
  return words + fmt::format("; {} migrations passed", migrations);
}

void print_machines(Page& page, const Matrix& matrix) {
  std::map<std::string, std::vector<std::string>> pairs;
  for (const auto& [pair, cell] : matrix.cells) {
    for (const std::string& machine : cell.machines) {
      if (machine.empty()) continue;
      pairs[base::printable(machine, 60)].push_back(base::printable(pair.first, 40) + "→" +
                                                    base::printable(pair.second, 40));
    }
  }
  bool first = true;
  for (const auto& [machine, where] : pairs) {
    const bool everywhere = where.size() == matrix.cells.size();
    page.labelled(std::exchange(first, false) ? "machine" : "",
                  machine + ": " + (everywhere ? "every pair" : base::join(where, " ")));
  }
}

}  // namespace

const MatrixCell* Matrix::find(const std::string& row, const std::string& column) const {
  const auto found = cells.find({row, column});
  return found != cells.end() ? &found->second : nullptr;
}

std::string side_text(const record::SideInfo& side) {
  const std::string name = base::printable(side.name, 40);
  return side.qemu_version.empty() ? name : name + " (QEMU " + base::printable(side.qemu_version, 40) + ")";
}

std::string waive_text(const record::Waive& waive) {
  std::vector<std::string> what;
  for (const std::string& part : {waive.detector, waive.kind, waive.process, waive.device}) {
    if (!part.empty()) what.push_back(base::printable(part, 60));
  }
  if (!waive.from.empty()) what.push_back("from " + base::printable(waive.from, 40));
  if (!waive.to.empty()) what.push_back("to " + base::printable(waive.to, 40));
  return base::join(what, " ") + ": " + base::printable(waive.reason);
}

std::string cell_text(const MatrixCell& cell) {
  std::vector<std::string> parts;
  if (cell.passed > 0 || (cell.failed == 0 && cell.waived == 0 && cell.unknown == 0)) {
    parts.push_back(fmt::format("{} ok", cell.passed));
  }
  std::string where;
  if (cell.failed + cell.waived > 0 && !cell.failed_machines.empty() && cell.failed_machines.size() < 3 &&
      cell.machines.size() > cell.failed_machines.size()) {
    where = fmt::format(" ({})", base::printable(fmt::format("{}", fmt::join(cell.failed_machines, ",")), 30));
  }
  if (cell.failed > 0) {
    parts.push_back("✗" + direction_of(cell) + " " +
                    (cell.findings.empty() ? "unexplained" : numbers_text(cell.findings)) + where);
  } else if (cell.waived > 0) {
    std::vector<std::string> numbers;
    for (const std::size_t i : cell.waives) numbers.push_back(std::to_string(i + 1));
    parts.push_back(direction_of(cell) + " waived " + base::join(numbers, ",") + where);
  }
  if (!cell.also.empty()) parts.push_back("!" + numbers_text(cell.also));
  if (cell.unknown > 0) parts.push_back(fmt::format("{} unknown", cell.unknown));
  if (cell.interrupted > 0) parts.push_back(fmt::format("{} interrupted", cell.interrupted));
  return base::join(parts, " ");
}

struct MatrixFold::Impl {
  Impl(const record::Manifest& manifest, const std::vector<record::Finding>& findings,
       std::set<std::string> reasons_used)
      : filler(matrix, findings, std::move(reasons_used)) {
    matrix.by_boot = wishes_of(manifest).pairs;
    matrix.sides = manifest.sides;
    matrix.waives = manifest.gate.waives;
  }

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
  if (impl.seen.size() > kSidesMax) return;
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
  const bool too_few = !matrix.by_boot && (impl_->seen.size() < 3 || matrix.sides.size() < 3);
  if (matrix.cells.empty() || impl_->seen.size() > kSidesMax || too_few) return std::nullopt;
  return std::move(impl_->matrix);
}

base::Result<std::optional<Matrix>> matrix_of(const store::Store& store, const std::vector<record::Finding>& findings) {
  MIGSOAK_ASSIGN(MatrixFold fold, MatrixFold::begin(store, findings));
  MIGSOAK_TRY(store.for_each_iteration({}, [&](const Row& row, const store::Store::Values&) -> base::Result<void> {
    fold.take(row);
    return {};
  }));
  return fold.conclude();
}

void print_matrix(Page& page, const Matrix& matrix, const std::vector<record::Finding>& findings) {
  page.line("");
  page.labelled("matrix", totals_of(matrix));
  const Grid grid = grid_of(matrix);
  (grid.width() <= page.width() ? grid : list_of(matrix)).put_on(page);
  std::set<std::size_t> named, waives;
  bool directed = false;
  for (const auto& [pair, cell] : matrix.cells) {
    named.insert(cell.findings.begin(), cell.findings.end());
    named.insert(cell.also.begin(), cell.also.end());
    waives.insert(cell.waives.begin(), cell.waives.end());
    directed = directed || cell.forth || cell.back;
  }
  if (directed && matrix.by_boot) {
    page.paragraph(
        "→ on the way from the boot side to the other, ← on the way back, ⇄ both; ✗ the guest could not be "
        "sent, ! it was, and something was found all the same");
  }
  std::size_t listed = 0;
  for (const std::size_t i : named) {
    if (++listed > kFindingsListedMax) break;
    page.paragraph(fmt::format("#{} {}: {}", i + 1, base::printable(findings[i].detector, 60),
                               base::printable(findings[i].title, 600)));
  }
  if (named.size() > kFindingsListedMax) {
    page.paragraph(fmt::format("and {} more findings", named.size() - kFindingsListedMax));
  }
  for (const std::size_t i : waives) {
    page.paragraph(fmt::format("waived {}: {}", i + 1, waive_text(matrix.waives[i])), 3);
  }
  print_machines(page, matrix);
}

}  // namespace migsoak::report
