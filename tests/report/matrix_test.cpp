#include "report/matrix.h"

#include <gmock/gmock.h>

#include <sstream>

#include "base/text.h"
#include "report/report.h"
#include "store/scratch.h"
#include "store/synthetic.h"

namespace migsoak::report {
namespace {

using record::IterationStatus;
using record::Verdict;
using testing::HasSubstr;
using testing::Not;

// Three builds, lineages of four migrations, each ordered pair once: what fails is said per test.
class MatrixTest : public testing::Test {
 protected:
  void open(const std::vector<record::Waive>& waives = {}, const char* route = "pairs") {
    record::Manifest manifest = synthetic::manifest(24);
    manifest.scenario_text = std::string("name = 'versions'\n[migration]\nroute = '") + route + "'\n";
    manifest.sides = {
        {"old", "qemu-7.2", "7.2.22"}, {"bad", "qemu-10.0.13", "10.0.13"}, {"new", "qemu-11.1", "11.1.2"}};
    manifest.gate.waives = waives;
    auto created = store::Store::create(directory_.file("results.db"), manifest);
    ASSERT_TRUE(created) << created.error().describe();
    store_ = std::move(*created);
  }
  std::int64_t iteration(const std::string& from, const std::string& to,
                         IterationStatus status = IterationStatus::completed, Verdict verdict = Verdict::pass,
                         const std::string& phase = "quiet") {
    record::Observation o;
    o.iteration = next_++;
    o.lineage = lineage_;
    o.plan = {o.iteration, from, to, "precopy", "unix", machine_};
    o.status = status;
    o.phase = phase;
    o.duration_ms = 500;
    if (begins_ && !type_.empty()) {
      o.events.push_back({record::event_kind::kLineageStart, "guest", 0, "boot", 1, "", {}});
      o.events.back().detail = {{"boot_side", from}, {"machine_type", type_}};
    }
    begins_ = false;
    EXPECT_TRUE(store_->begin(o));
    EXPECT_TRUE(store_->finish(o, verdict));
    return o.iteration;
  }
  void lineage() {
    ++lineage_;
    begins_ = true;
  }
  void passing(const std::string& boot, const std::string& other, int migrations = 4) {
    lineage();
    for (int i = 0; i < migrations; ++i) iteration(i % 2 == 0 ? boot : other, i % 2 == 0 ? other : boot);
  }
  static record::Finding failure(const std::string& title, const std::vector<std::int64_t>& iterations) {
    record::Finding finding;
    finding.detector = "migration-failure";
    finding.title = title;
    finding.fingerprint = title;
    finding.first_iteration = finding.detected_iteration = iterations.front();
    finding.evidence = {{"iterations", iterations}, {"last_iteration", iterations.back()}};
    return finding;
  }
  // bad to new is refused from the start; a guest that new booted comes back from old but once.
  void incident() {
    passing("old", "bad");
    passing("old", "new");
    passing("bad", "old");
    lineage();  // booted on bad, to new
    const auto a = iteration("bad", "new", IterationStatus::failed, Verdict::fail, "migrate");
    const auto b = iteration("bad", "new", IterationStatus::failed, Verdict::fail, "migrate");
    lineage();  // booted on new, back from old
    iteration("new", "old");
    iteration("old", "new");
    iteration("new", "old");
    const auto c = iteration("old", "new", IterationStatus::lost, Verdict::fail, "migrate");
    record::Finding leak = failure("something else", {2});
    leak.detector = "fd-leak";
    leak.severity = record::Severity::warn;
    ASSERT_TRUE(store_->replace_findings(
        {failure("VQ 0 vring.num 1024 exceeds 256", {a, b}), failure("the way back is barred", {c}), leak}, {}));
    ASSERT_TRUE(store_->end_run(Verdict::fail, "finished"));
  }
  MatrixCell cell(const std::string& row, const std::string& column) {
    const auto matrix = matrix_of(*store_, *store_->findings());
    EXPECT_TRUE(matrix && *matrix);
    const MatrixCell* found = (*matrix)->find(row, column);
    return found != nullptr ? *found : MatrixCell{};
  }
  std::string page(int width) {
    const auto out = text(*store_, width, false);
    EXPECT_TRUE(out);
    return out.value_or("");
  }

  scratch::Directory directory_;
  std::unique_ptr<store::Store> store_;
  std::int64_t next_ = 0;
  int lineage_ = 0;
  bool begins_ = false;
  std::string machine_ = "q35", type_;
};

TEST_F(MatrixTest, ShowsPairDirectionAndFinding) {
  open();
  incident();
  const std::string out = page(100);
  EXPECT_THAT(out,
              HasSubstr("matrix       3 of 6 ordered pairs pass, 2 fail, 0 waived, 1 not run; 15 migrations passed"));
  EXPECT_THAT(out, HasSubstr("  booted on ↓  old         bad   new\n"
                             "  old 7.2.22               4 ok  4 ok\n"
                             "  bad 10.0.13  4 ok              ✗→ #1\n"
                             "  new 11.1.2   3 ok ✗← #2  –\n"));
  EXPECT_THAT(out, HasSubstr("  #1 migration-failure: VQ 0 vring.num 1024 exceeds 256\n"));
  EXPECT_THAT(out, HasSubstr("FAIL  #2  migration-failure"));
  EXPECT_THAT(out, HasSubstr("machine      q35: every pair\n"));
  for (const int width : {40, 60, 132}) {
    for (const std::string& line : base::split(page(width), '\n')) {
      if (line.starts_with("  replay: ")) continue;
      EXPECT_LE(columns_of(line), static_cast<std::size_t>(width)) << line;
    }
  }
}

TEST_F(MatrixTest, WhereTheTableIsTooWideItIsAList) {
  Matrix matrix;
  matrix.by_boot = true;
  for (int i = 0; i < 9; ++i)
    matrix.sides.push_back({"side\033" + std::to_string(i), "qemu", "1." + std::to_string(i)});
  matrix.cells[{"side\0330", "side\0338"}].passed = 20;
  Page narrow(60, false);
  print_matrix(narrow, matrix, {});
  const std::string out = narrow.take();
  EXPECT_THAT(out, HasSubstr("  side\\x1b0 1.0  side\\x1b8 1.8  20 ok\n  side\\x1b1 1.1  side\\x1b0 1.0  –\n"));
  EXPECT_THAT(out, Not(HasSubstr("\033")));
}

TEST_F(MatrixTest, AWaivedPairSaysSoAndWhy) {
  record::Waive everywhere, pair;
  everywhere.detector = "log-signature";
  everywhere.reason = "noise";
  pair.detector = "config-space-drift";
  pair.from = "10.0.13";
  pair.to = "new";
  pair.reason = "10.0.13 boots with queues of 1024";
  open({everywhere, pair});
  lineage();
  iteration("bad", "new", IterationStatus::failed, Verdict::pass, "migrate");
  lineage();  // booted on the bad build, refused on a later hop
  iteration("bad", "old");
  iteration("old", "bad");
  ASSERT_TRUE(store_->replace_findings({}, {{"waive:config-space-drift", "config-space-drift", pair.reason, 1},
                                            {"waive:log-signature", "log-signature", "noise", 7}}));
  EXPECT_EQ(cell("bad", "new").waived, 1);
  EXPECT_FALSE(cell("bad", "new").fails());
  const std::string out = page(100);
  EXPECT_THAT(out, HasSubstr("→ waived 2\n"));
  EXPECT_THAT(out, HasSubstr("waived 2: config-space-drift from 10.0.13 to new: 10.0.13 boots with queues of 1024\n"));
  EXPECT_THAT(out, HasSubstr("1 of 6 ordered pairs pass, 0 fail, 1 waived, 4 not run"));
  EXPECT_THAT(out, Not(HasSubstr("noise\n  waived")));
}

// A failure that nothing explains is none that anybody waived.
TEST_F(MatrixTest, AFailureWithoutFindingIsUnexplained) {
  open();
  lineage();
  iteration("old", "new", IterationStatus::failed, Verdict::pass, "migrate");
  EXPECT_TRUE(cell("old", "new").fails());
  EXPECT_EQ(cell_text(cell("old", "new")), "✗→ unexplained");
}

TEST_F(MatrixTest, BootFailuresUnknownsAndFindingsOfPassingPairs) {
  open();
  lineage();
  const auto lost = iteration("old", "new", IterationStatus::lost, Verdict::fail, "boot");
  passing("old", "bad", 3);
  lineage();
  iteration("bad", "old", IterationStatus::unknown, Verdict::unknown, "spawn");
  record::Finding drift = failure("BAR sizes differ", {2});
  drift.detector = "config-space-drift";
  ASSERT_TRUE(store_->replace_findings({failure("no hello", {lost}), drift}, {}));
  EXPECT_EQ(cell_text(cell("old", "new")), "✗boot #1");
  EXPECT_EQ(cell_text(cell("old", "bad")), "3 ok !#2");
  EXPECT_TRUE(cell("old", "bad").fails());
  EXPECT_EQ(cell_text(cell("bad", "old")), "1 unknown");
}

// A detector lists so many iterations and no more.
TEST_F(MatrixTest, BeyondTheListedIterationsSpanAndDirectionDecide) {
  open();
  lineage();
  const auto first = iteration("bad", "new", IterationStatus::failed, Verdict::fail, "migrate");
  lineage();
  iteration("old", "new", IterationStatus::failed, Verdict::fail, "migrate");
  lineage();
  const auto last = iteration("bad", "new", IterationStatus::failed, Verdict::fail, "migrate");
  record::Finding finding = failure("refused", {first});
  finding.evidence["last_iteration"] = last;
  finding.evidence["from"] = "bad";
  finding.evidence["to"] = "new";
  ASSERT_TRUE(store_->replace_findings({finding}, {}));
  EXPECT_EQ(cell_text(cell("bad", "new")), "✗→ #1");
  EXPECT_EQ(cell_text(cell("old", "new")), "✗→ unexplained");
}

TEST_F(MatrixTest, MachinesAreNamedWhereOneOfThemFails) {
  open();
  type_ = "pc-i440fx-7.2";
  machine_ = "pc";
  passing("old", "new", 2);
  machine_ = "q35";
  type_ = "pc-q35-7.2";
  lineage();
  const auto bad = iteration("old", "new", IterationStatus::failed, Verdict::fail, "migrate");
  ASSERT_TRUE(store_->replace_findings({failure("refused", {bad})}, {}));
  EXPECT_EQ(cell_text(cell("old", "new")), "2 ok ✗→ #1 (q35)");
  EXPECT_THAT(page(100), HasSubstr("machine      pc-i440fx-7.2: every pair\n             pc-q35-7.2: every pair\n"));
}

TEST_F(MatrixTest, OtherRoutesGoBySourceAndDestination) {
  open({}, "random");
  lineage();
  iteration("old", "bad");
  iteration("bad", "bad");
  const auto failed = iteration("bad", "new", IterationStatus::failed, Verdict::fail, "migrate");
  ASSERT_TRUE(store_->replace_findings({failure("refused", {failed})}, {}));
  EXPECT_EQ(cell_text(cell("bad", "new")), "✗→ #1");
  EXPECT_EQ(cell_text(cell("bad", "bad")), "1 ok");
  const std::string out = page(100);
  EXPECT_THAT(out, HasSubstr("from ↓  to →"));
  EXPECT_THAT(out, HasSubstr("1 of 6 ordered pairs pass, 1 fail, 0 waived, 4 not run"));
}

TEST_F(MatrixTest, TwoSidesToAndFroAreNoMatrix) {
  open({}, "ping-pong");
  passing("old", "new");
  const auto matrix = matrix_of(*store_, {});
  ASSERT_TRUE(matrix);
  EXPECT_FALSE(*matrix);
}

TEST_F(MatrixTest, JunitHasACasePerPair) {
  open();
  incident();
  std::ostringstream out;
  const auto done = junit(*store_, {}, out);
  ASSERT_TRUE(done) << done.error().describe();
  const std::string xml = out.str();
  EXPECT_THAT(xml, HasSubstr("<testsuite name=\"synthetic.pairs\" tests=\"6\" failures=\"2\" errors=\"0\" "
                             "skipped=\"1\""));
  EXPECT_THAT(xml, HasSubstr("name=\"booted on bad (QEMU 10.0.13), to and fro with new (QEMU 11.1.2)\""));
  EXPECT_THAT(xml, HasSubstr("<failure message=\"the way back is barred\" type=\"migration-failure\">"));
}

}  // namespace
}  // namespace migsoak::report
