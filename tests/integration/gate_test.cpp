// `migsoak gate` as a pipeline calls it: exit status, streams and files. The records are made here, without a QEMU.
#include <filesystem>
#include <fstream>

#include "run_migsoak.h"
#include "store/store.h"

namespace migsoak::integration {
namespace {

using record::Verdict;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class Gate : public MigsoakTest {
 protected:
  // A run of 30 iterations, of which so many are finished.
  std::string database(const std::string& name, bool leaks, int finished = 30, std::int64_t started = 0) const {
    record::Manifest manifest;
    manifest.run = "nightly-20261128T000000Z";
    manifest.scenario = "nightly";
    manifest.scenario_text = "name = \"nightly\"\n";
    manifest.iterations_planned = 30;
    manifest.started_unix_ms = started;
    auto store = store::Store::create(path(name), manifest);
    EXPECT_TRUE(store) << store.error().describe();
    for (int i = 0; i < finished; ++i) {
      record::Observation observation;
      observation.iteration = i;
      observation.plan = {i, "a", "b", "precopy", "unix"};
      EXPECT_TRUE((*store)->begin(observation));
      observation.status = record::IterationStatus::completed;
      EXPECT_TRUE((*store)->finish(observation, Verdict::pass));
    }
    record::Finding leak;
    leak.detector = "fd-leak";
    leak.process = "target:disk0";
    leak.title = "target:disk0 gains 4 eventfds per iteration";
    leak.fingerprint = "fd-leak-0123456789ab";
    leak.rate_per_iteration = 4;
    if (leaks) {
      EXPECT_TRUE((*store)->replace_findings({leak}, {}));
    }
    if (finished == 30) {
      EXPECT_TRUE((*store)->end_run(leaks ? Verdict::fail : Verdict::pass, "finished"));
    }
    return path(name);
  }
};

TEST_F(Gate, ExitStatusIsTheVerdict) {
  const std::string clean = database("clean.db", false), leaks = database("leaks.db", true);
  const Outcome passed = migsoak({"gate", clean});
  EXPECT_EQ(passed.status, 0) << describe(passed);
  EXPECT_THAT(passed.out, AllOf(StartsWith("PASS  nightly"), HasSubstr("failures: 0 of 30: below 9.6 % at 95 %")));
  const Outcome failed = migsoak({"gate", leaks, "--baseline", clean});
  EXPECT_EQ(failed.status, 1) << describe(failed);
  EXPECT_THAT(failed.out, HasSubstr("new"));
  const Outcome known = migsoak({"gate", leaks, "--baseline", leaks});
  EXPECT_EQ(known.status, 0) << describe(known);
  EXPECT_THAT(known.out, HasSubstr("known from the baseline"));
  const Outcome unfinished = migsoak({"gate", database("short.db", false, 12)});
  EXPECT_EQ(unfinished.status, 3) << describe(unfinished);
  EXPECT_THAT(unfinished.out, HasSubstr("12 of 30 iterations are finished, run 18 more"));
  const Outcome few = migsoak({"gate", clean, "--policy", write("p.toml", "[rates]\nhangs_max = 0.01\n")});
  EXPECT_EQ(few.status, 3) << describe(few);
  EXPECT_THAT(few.out, HasSubstr("269 iterations more without one are needed"));
}

// The newest night that passed: one that failed does not make its leak a known one.
TEST_F(Gate, OfADirectoryTheNewestThatPassed) {
  std::filesystem::create_directories(path("nights/1"));
  write("nights/no.db", "no database");
  const std::string tonight = database("tonight.db", true, 30, 500);
  const Outcome first = migsoak({"gate", tonight, "--baseline", path("nights")});
  EXPECT_EQ(first.status, 1) << describe(first);
  EXPECT_THAT(first.err, HasSubstr("of 0 runs in it none is an earlier one of this scenario that passed"));
  database("nights/1/old.db", false, 30, 100);
  const std::string newest = database("nights/newer.db", false, 30, 200);
  database("nights/cut.db", false, 12, 300);
  database("nights/leaks.db", true, 30, 400);
  database("nights/later.db", false, 30, 600);
  const Outcome outcome = migsoak({"gate", tonight, "--baseline", path("nights")});
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  EXPECT_EQ(outcome.err, "");
  EXPECT_THAT(outcome.out, AllOf(HasSubstr(newest), HasSubstr("new")));
}

TEST_F(Gate, WaiversHaveAnEnd) {
  const std::string leaks = database("leaks.db", true);
  const std::string waiver = "[[waive]]\nfingerprint = 'fd-leak-0123456789ab'\nreason = 'issue 7'\nexpires = ";
  EXPECT_EQ(migsoak({"gate", leaks, "--policy", write("on.toml", waiver + "9999-12-31\n")}).status, 0);
  const Outcome late = migsoak({"gate", leaks, "--policy", write("off.toml", waiver + "2020-01-31\n")});
  EXPECT_EQ(late.status, 1) << describe(late);
  EXPECT_THAT(late.out, HasSubstr("its waiver expired on 2020-01-31"));
}

TEST_F(Gate, BadInputIsOneLine) {
  const std::string clean = database("clean.db", false);
  const auto complaint = [&](const std::vector<std::string>& arguments) {
    const Outcome outcome = migsoak(arguments);
    EXPECT_EQ(outcome.status, 2) << describe(outcome);
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << describe(outcome);
    return outcome.err;
  };
  EXPECT_THAT(complaint({"gate"}), HasSubstr("expected the database of a run"));
  EXPECT_THAT(complaint({"gate", path("none.db")}), HasSubstr("none.db"));
  EXPECT_THAT(complaint({"gate", clean, "--baseline", path("none.db")}), HasSubstr("--baseline"));
  EXPECT_THAT(complaint({"gate", clean, "--policy", dir()}), HasSubstr("can't read this policy"));
  EXPECT_THAT(complaint({"gate", clean, "--policy", write("p.toml", "\n[rates]\nhang_max = 1\n")}),
              HasSubstr("p.toml:3: unknown key 'rates.hang_max', did you mean 'hangs_max'?"));
  EXPECT_THAT(complaint({"gate", clean, "--markdown", path("no/such/folder.md")}), HasSubstr("can't write"));
}

TEST_F(Gate, PrintedPolicyIsAPolicy) {
  const Outcome printed = migsoak({"gate", "--print-policy"});
  ASSERT_EQ(printed.status, 0) << describe(printed);
  const Outcome again = migsoak({"gate", "--print-policy", "--policy", write("p.toml", printed.out)});
  EXPECT_EQ(again.out, printed.out);
}

TEST_F(Gate, TellsMachinesAndMergeRequests) {
  const Outcome outcome = migsoak({"gate", database("leaks.db", true), "--json", "--markdown", path("gate.md")});
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  const base::Json json = base::Json::parse(outcome.out, nullptr, false);
  ASSERT_FALSE(json.is_discarded()) << describe(outcome);
  EXPECT_EQ(json["schema"], 1);
  EXPECT_EQ(json["verdict"], "fail");
  EXPECT_EQ(json["lines"][0]["state"], "new");
  EXPECT_THAT(read(path("gate.md")), AllOf(StartsWith("## migsoak gate: fail"), HasSubstr("| fail | finding | new |")));
}

}  // namespace
}  // namespace migsoak::integration
