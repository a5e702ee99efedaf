// Hot upgrades as a user runs them: the scenarios that ship, short; what a build lacks; what is declared to fail.
#include <algorithm>

#include "fleet/fleet.h"
#include "run_migsoak.h"

namespace migsoak::integration {

namespace {

using testing::AllOf;
using testing::HasSubstr;

class HotUpgrades : public MigsoakTest {
 protected:
  // The build that has all modes, and the one before.
  static std::string missing_build() {
    for (const char* build : {"debian:forky", "debian:bookworm-backports"}) {
      const auto found = fleet::find(build);
      if (!found || !*found) return std::string(build) + " is not in the fleet: migsoak fleet add " + build;
    }
    return "";
  }
  Outcome run(const std::string& scenario, const std::vector<std::string>& sets = {}) const {
    std::vector<std::string> arguments = {"run", scenario, "--db", db()};
    for (const std::string& set : sets) arguments.insert(arguments.end(), {"--set", set});
    return migsoak(arguments);
  }
  Outcome run_shipped(const std::string& name, const std::vector<std::string>& sets) const {
    return run(std::string(MIGSOAK_SOURCE_DIR) + "/scenarios/" + name + ".toml", sets);
  }
  std::string report() const { return migsoak({"report", db()}).out; }
  std::string db() const { return path("r.db"); }
  // Two builds, new and old, and what the test says of the migration.
  std::string two_builds(const std::string& migration) const {
    return write("s.toml",
                 "name = \"s\"\niterations = 3\n[[side]]\nname = \"new\"\nqemu = \"debian:forky\"\n"
                 "[[side]]\nname = \"old\"\nqemu = \"debian:bookworm-backports\"\n"
                 "[[device]]\nid = \"vd0\"\ntype = \"virtio-blk\"\n[migration]\n" +
                     migration);
  }
};

#define NEEDS_BUILDS() \
  if (const std::string why = missing_build(); !why.empty()) GTEST_SKIP() << why

class ShippedUpgrades : public HotUpgrades, public testing::WithParamInterface<const char*> {};

TEST_P(ShippedUpgrades, OneGuestAndNothingFound) {
  NEEDS_BUILDS();
  const Outcome outcome = run_shipped(GetParam(), {"iterations=12"});
  EXPECT_EQ(outcome.status, 0) << describe(outcome);
  EXPECT_EQ(findings(db()).value("iterations", 0), 12);
  const std::string text = report();
  EXPECT_THAT(text, AllOf(HasSubstr("12 completed"), HasSubstr("1 lineage"), HasSubstr("upgrades     12 of one guest"),
                          HasSubstr(std::string(GetParam()) + ": the guest's clients see p50")))
      << text;
}
INSTANTIATE_TEST_SUITE_P(Modes, ShippedUpgrades, testing::Values("cpr-reboot", "cpr-transfer", "cpr-exec"));

TEST_F(HotUpgrades, ExecKeepsOnePid) {
  NEEDS_BUILDS();
  ASSERT_EQ(run_shipped("cpr-exec", {"iterations=4"}).status, 0);
  EXPECT_THAT(report(), HasSubstr("1 QEMU process, 4 exec generations of one pid"));
}

TEST_F(HotUpgrades, ChainMixesModesAcrossBuilds) {
  NEEDS_BUILDS();
  const Outcome outcome = run_shipped("upgrade-chain", {"iterations=25"});
  EXPECT_EQ(outcome.status, 0) << describe(outcome) << report();
  const std::string text = report();
  EXPECT_THAT(text, AllOf(HasSubstr("25 of 25 iterations"), HasSubstr("1 lineage"), HasSubstr("declared-outcome")))
      << text;
}

// The iteration that ends the guest, by declaration.
TEST_F(HotUpgrades, ADeclaredLossEndsTheLineageAndIsNoFinding) {
  NEEDS_BUILDS();
  const Outcome outcome =
      run(two_builds("mode = \"cpr-exec\"\n[[migration.edge]]\nmode = \"cpr-exec\"\nfrom = \"new\"\n"
                     "to = \"old\"\nat = 0\nexpect = \"lost\"\nreason = \"no way back\"\n"),
          {"iterations=1"});
  EXPECT_EQ(outcome.status, 0) << describe(outcome) << report();
  EXPECT_THAT(report(), HasSubstr("declared-outcome")) << report();
}

TEST_F(HotUpgrades, ARefusedDowngradeLeavesTheOldGuestRunning) {
  NEEDS_BUILDS();
  const std::string edges =
      "mode = [\"cpr-transfer\", \"precopy\"]\nroute = \"random\"\n"
      "[[migration.edge]]\nmode = \"cpr-transfer\"\nfrom = \"new\"\nto = \"old\"\nexpect = \"refused\"\n"
      "reason = \"older state\"\n[[migration.edge]]\nmode = \"cpr-transfer\"\nto = \"new\"\n";
  const Outcome outcome = run(two_builds(edges), {"iterations=12"});
  EXPECT_EQ(outcome.status, 0) << describe(outcome) << report();
  EXPECT_THAT(report(), HasSubstr("declared-outcome")) << report();
}

TEST_F(HotUpgrades, WhatIsDeclaredToFailAndDoesNotIsFound) {
  NEEDS_BUILDS();
  const Outcome outcome = run(
      two_builds("mode = \"precopy\"\n[[migration.edge]]\nmode = \"precopy\"\nfrom = \"new\"\nto = \"old\"\n"
                 "expect = \"refused\"\nreason = \"wrong\"\n[[migration.edge]]\nmode = \"precopy\"\nto = \"new\"\n"),
      {"iterations=1"});
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  EXPECT_THAT(only(findings(db()), "migration-failure").value("title", ""),
              HasSubstr("completed in iteration 0, but is declared to be refused"));
}

// One line, exit 2, nothing started.
TEST_F(HotUpgrades, WhatABuildLacksIsSaidBeforeAnythingRuns) {
  const std::string one = write("one.toml", "name = \"s\"\niterations = 3\n[migration]\nmode = \"cpr-exec\"\n");
  const Outcome lacks = run(one);
  EXPECT_EQ(lacks.status, 2) << describe(lacks);
  EXPECT_THAT(lacks.err,
              AllOf(HasSubstr("cpr-exec needs QEMU 11.1 or newer, side a has 7.2"), HasSubstr("[[migration.edge]]")));
  EXPECT_EQ(std::count(lacks.err.begin(), lacks.err.end(), '\n'), 1) << lacks.err;
}

TEST_F(HotUpgrades, AnUndeclaredWayBackIsRefused) {
  NEEDS_BUILDS();
  const Outcome back = run(two_builds("mode = \"cpr-transfer\"\n"));
  EXPECT_EQ(back.status, 2) << describe(back);
  EXPECT_THAT(back.err, AllOf(HasSubstr("back to side old (10.0.2) is not known to work"),
                              HasSubstr("declare its outcome with [[migration.edge]]")));
}

}  // namespace
}  // namespace migsoak::integration
