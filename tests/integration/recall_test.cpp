// Recall: every detector fires on the fault that is planted for it, names the right process, and is in time; and
// nothing else is found. One run holds as many faults as go together; control runs hold none. Real QEMU, real
// qemu-storage-daemon. The rows "[ TABLE ]" make one table, which tests/run.sh prints.
#include <fmt/format.h>

#include <algorithm>
#include <ostream>
#include <set>

#include "fleet/fleet.h"
#include "recall_cases.h"
#include "run_migsoak.h"

namespace migsoak::integration {

void PrintTo(const Case& one, std::ostream* out) {
  *out << one.name;
}

namespace {

std::vector<Case> all_cases() {
  std::vector<Case> cases = process_cases();
  for (Case& one : device_cases()) cases.push_back(std::move(one));
  for (Case& one : upgrade_cases()) cases.push_back(std::move(one));
  for (Case& one : libvirt_cases()) cases.push_back(std::move(one));
  return cases;
}

void print_row(const std::string& detector, const std::string& fault, const std::string& process,
               const std::string& due, const std::string& detected, const std::string& rate,
               const std::string& verdict) {
  fmt::print("[ TABLE ] {:<18} | {:<24} | {:<12} | {:>6} | {:>8} | {:<15} | {}\n", detector, fault, process, due,
             detected, rate, verdict);
  std::fflush(stdout);
}

class Recall : public MigsoakTest, public testing::WithParamInterface<Case> {
 protected:
  std::string scenario(const Case& one) const;
  std::vector<std::string> arguments(const Case& one, const std::string& db) const;
  static bool matches(const Row& row, const base::Json& finding);
  static void expect_row(const Row& row, const base::Json& findings);
  static void expect_nothing_else(const Case& one, const base::Json& findings);
};

std::string Recall::scenario(const Case& one) const {
  if (!one.scenario.empty()) return one.scenario;
  std::string text = fmt::format("name = \"recall\"\nseed = 1\n[guest]\nworkload = \"{}\"\n", one.workload);
  for (const char* side : {"a", "b"}) text += fmt::format("[[side]]\nname = \"{}\"\n", side);
  for (int i = 0; i < one.disks; ++i) {
    text += fmt::format(
        "[[target]]\nname = \"disk{0}\"\n[[device]]\nid = \"vd{0}\"\ntype = \"vhost-user-blk\"\ntarget = \"disk{0}\"\n",
        i);
  }
  return text;
}

std::vector<std::string> Recall::arguments(const Case& one, const std::string& db) const {
  std::vector<std::string> result = {"run",          write("recall.toml", scenario(one)), "--db", db, "--no-progress",
                                     "--iterations", std::to_string(one.iterations)};
  for (std::string setting : one.settings) {
    for (const auto& [name, value] :
         {std::pair<std::string, std::string>{"{faults}", MIGSOAK_FAULTS_DIR}, {"{dir}", dir()}}) {
      for (std::size_t at = 0; (at = setting.find(name)) != std::string::npos;) setting.replace(at, name.size(), value);
    }
    result.push_back("--set");
    result.push_back(setting);
  }
  return result;
}

// A disk's finding is of the guest; which disk is in its evidence.
std::string kind_of(const base::Json& finding) {
  const std::string disk = finding["evidence"].is_object() ? finding["evidence"].value("disk", "") : "";
  return (disk.empty() ? "" : disk + ":") + finding.value("kind", "");
}

bool Recall::matches(const Row& row, const base::Json& finding) {
  return finding.value("detector", "") == row.detector && finding.value("process", "") == row.process &&
         (row.kind.empty() || kind_of(finding) == row.kind);
}

void Recall::expect_row(const Row& row, const base::Json& findings) {
  const std::string due = row.earliest == row.due ? fmt::format("at {}", row.due) : fmt::format("by {}", row.due);
  std::vector<base::Json> found;
  for (const base::Json& finding : findings) {
    if (matches(row, finding)) found.push_back(finding);
  }
  EXPECT_EQ(found.size(), 1U) << row.detector << " of " << row.process << " " << row.kind << " by " << row.fault;
  if (found.empty()) return print_row(row.detector, row.fault, row.process, due, "-", "", "MISSED");
  const base::Json& finding = found.front();
  const int detected = finding.value("detected_iteration", -1);
  const std::string kind = kind_of(finding);
  bool good = found.size() == 1 && detected >= row.earliest && detected <= row.due &&
              finding.value("severity", "") == "fail" && finding.value("blame", "") == "subject" &&
              finding.value("first_iteration", -1) <= detected && !finding.value("title", "").empty();
  for (const std::string& words : row.title) {
    good = good && finding.value("title", "").find(words) != std::string::npos;
  }
  std::string rate = kind;
  if (finding.contains("rate_per_iteration")) {
    const double per_iteration = finding["rate_per_iteration"].get<double>();
    rate = per_iteration >= 1024 ? fmt::format("{:.0f} KiB {}", per_iteration / 1024, kind)
                                 : fmt::format("{:.3g} {}", per_iteration, kind);
    if (row.rate) good = good && per_iteration == *row.rate;
  } else if (row.rate) {
    good = false;
  }
  EXPECT_TRUE(good) << row.detector << " by " << row.fault << ", due " << due << ":\n" << finding.dump(2);
  print_row(row.detector, row.fault, row.process, due, fmt::format("at {}", detected), rate, good ? "found" : "WRONG");
}

void Recall::expect_nothing_else(const Case& one, const base::Json& findings) {
  for (const base::Json& finding : findings) {
    const bool wanted =
        std::any_of(one.rows.begin(), one.rows.end(), [&](const Row& r) { return matches(r, finding); });
    const bool companion = std::any_of(one.companions.begin(), one.companions.end(), [&](const Companion& c) {
      return c.detector == finding.value("detector", "") && c.process == finding.value("process", "") &&
             (c.kind.empty() || c.kind == kind_of(finding));
    });
    if (wanted || companion) continue;
    ADD_FAILURE() << "nobody planted that:\n" << finding.dump(2);
    print_row(finding.value("detector", ""), "none", finding.value("process", ""), "never",
              fmt::format("at {}", finding.value("detected_iteration", -1)), kind_of(finding), "FALSE ALARM");
  }
}

TEST_P(Recall, FindsWhatIsPlantedAndNothingElse) {
  const Case& one = GetParam();
  if (!one.build.empty()) {
    const auto found = fleet::find(one.build);
    if (!found || !*found) GTEST_SKIP() << one.build << " is not in the fleet: migsoak fleet add " << one.build;
  }
  if (const std::string why = one.libvirt ? missing_libvirt() : ""; !why.empty()) GTEST_SKIP() << why;
  const std::string db = path("results.db");
  const Outcome outcome = migsoak(arguments(one, db), std::chrono::seconds(280));
  EXPECT_EQ(outcome.status, one.rows.empty() ? 0 : 1) << describe(outcome);
  const base::Json found = findings(db);
  for (const Row& row : one.rows) expect_row(row, found["findings"]);
  expect_nothing_else(one, found["findings"]);
  if (!one.rows.empty()) return;
  EXPECT_EQ(found.value("iterations", 0), one.iterations) << describe(outcome);
  EXPECT_EQ(found.value("verdict", ""), "pass");
  print_row("any", "none", one.scenario.empty() ? one.workload : "devices", "never",
            found["findings"].empty() ? "never" : "found", fmt::format("{} iterations", found.value("iterations", 0)),
            HasFailure() ? "WRONG" : "clean");
}

INSTANTIATE_TEST_SUITE_P(Planted, Recall, testing::ValuesIn(all_cases()),
                         [](const testing::TestParamInfo<Case>& test) { return test.param.name; });

class RecallTable : public MigsoakTest {};

// Comes first, so its row is the table's head.
TEST_F(RecallTable, HasEveryDetector) {
  print_row("detector", "planted fault", "blamed", "due", "detected", "what", "verdict");
  const Outcome outcome = migsoak({"list", "detectors", "--json"});
  ASSERT_EQ(outcome.status, 0) << describe(outcome);
  const base::Json listed = base::Json::parse(outcome.out, nullptr, /*allow_exceptions=*/false);
  std::set<std::string> covered;
  for (const Case& one : all_cases()) {
    for (const Row& row : one.rows) covered.insert(row.detector);
  }
  std::set<std::string> known;
  for (const base::Json& detector : listed.is_array() ? listed : listed.value("detectors", base::Json::array())) {
    known.insert(detector.is_string() ? detector.get<std::string>() : detector.value("name", ""));
  }
  EXPECT_EQ(known, covered) << "a detector without a planted fault is a detector that nobody has seen fire";
}

}  // namespace
}  // namespace migsoak::integration
