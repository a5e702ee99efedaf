#include "report/matrix.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/text.h"

namespace migsoak::report {

namespace {

constexpr std::size_t kFindingsInCellMax = 2;  // the others are counted
constexpr std::size_t kFindingsListedMax = 12;

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
  const std::string version = base::printable(matrix.build_of(side), 40);
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

std::string Matrix::build_of(const std::string& side) const {
  for (const record::SideInfo& info : sides) {
    if (info.name == side) return info.qemu_version;
  }
  return "";
}

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
  if (!waive.restart.empty()) what.push_back("after a restart (" + base::printable(waive.restart, 40) + ")");
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
