// Routes, and edges that the scenario declares.
#include "plan/route_plan.h"

#include <gtest/gtest.h>

#include <compare>
#include <set>

#include "plan/planner.h"
#include "scenario_text.h"

namespace migsoak::plan {
namespace {

using namespace testing;

std::string upgrade_text(const std::string& migration, const std::string& top = "iterations = 200") {
  return "name = \"s\"\n" + top + "\n[[side]]\nname = \"new\"\n[[side]]\nname = \"old\"\n[migration]\n" + migration;
}
std::string edge(const std::string& fields) {
  return "[[migration.edge]]\n" + fields + "\n";
}

struct Taken {
  std::string from, to, mode, expect;
  auto operator<=>(const Taken&) const = default;
};
std::set<Taken> taken_by(const Scenario& scenario, std::int64_t count) {
  Planner planner(scenario);
  std::set<Taken> all;
  for (std::int64_t i = 0; i < count; ++i) {
    const record::Plan plan = planner.plan(i);
    all.insert({plan.source_side, plan.destination_side, plan.mode, plan.expect});
  }
  return all;
}

const std::string kMixed = "route = \"random\"\nmode = [\"precopy\", \"cpr-transfer\"]\n" +
                           edge("mode = \"cpr-transfer\"\nto = \"new\"") +
                           edge(
                               "mode = \"cpr-transfer\"\nfrom = \"new\"\nto = \"old\"\nexpect = \"refused\"\n"
                               "reason = \"older state\"");

TEST(RoutePlan, DrawsDeclaredEdgesOnly) {
  const std::set<Taken> expected = {{"new", "new", "cpr-transfer", "completes"}, {"new", "new", "precopy", "completes"},
                                    {"new", "old", "cpr-transfer", "refused"},   {"new", "old", "precopy", "completes"},
                                    {"old", "new", "cpr-transfer", "completes"}, {"old", "new", "precopy", "completes"},
                                    {"old", "old", "precopy", "completes"}};
  EXPECT_EQ(taken_by(parsed(upgrade_text(kMixed)), 200), expected);
}

TEST(RoutePlan, TheGuestStaysWhereARefusedEdgeLeavesIt) {
  const Scenario scenario = parsed(upgrade_text(kMixed));
  Planner planner(scenario);
  std::string stands_on = "new";
  int refused = 0;
  for (std::int64_t i = 0; i < 200; ++i) {
    const record::Plan plan = planner.plan(i);
    EXPECT_EQ(plan.source_side, stands_on) << i;
    if (plan.expect == record::kExpectRefused) {
      ++refused;
    } else {
      stands_on = plan.destination_side;
    }
    EXPECT_EQ(plan_iteration(scenario, i), plan) << "alone, " << i;
  }
  EXPECT_GT(refused, 10);
}

TEST(RoutePlan, ARandomRouteGoesWhereAModeLeads) {
  const Scenario scenario =
      parsed(upgrade_text("route = \"random\"\nmode = \"cpr-exec\"\n" + edge("mode = \"cpr-exec\"\nto = \"new\"")));
  EXPECT_EQ(taken_by(scenario, 50), (std::set<Taken>{{"new", "new", "cpr-exec", "completes"}}));
}

TEST(RoutePlan, PingPongGoesOnFromWhereTheGuestWasHeldBack) {
  const Scenario scenario =
      parsed(upgrade_text("mode = {precopy = 1, cpr-transfer = 3}\n" +
                          edge("mode = \"cpr-transfer\"\nfrom = \"new\"\nto = \"old\"\nexpect = \"refused\"\n"
                               "reason = \"older state\"") +
                          edge("mode = \"cpr-transfer\"\nto = \"new\"")));
  Planner planner(scenario);
  for (std::int64_t i = 0; i < 200; ++i) {
    const record::Plan plan = planner.plan(i);
    EXPECT_NE(plan.source_side, plan.destination_side) << i;
  }
}

TEST(RoutePlan, AnEdgeOfOneIterationIsReachedAndEndsTheLineage) {
  const Scenario scenario =
      parsed(upgrade_text("route = \"random\"\nmode = [\"precopy\"]\n" +
                              edge("mode = \"cpr-exec\"\nfrom = \"new\"\nto = \"old\"\nat = 99\nexpect = \"lost\"\n"
                                   "reason = \"no way back\""),
                          "iterations = 100"));
  Planner planner(scenario);
  const record::Plan last = planner.plan(99);
  EXPECT_EQ(last.source_side, "new");
  EXPECT_EQ(last.destination_side, "old");
  EXPECT_EQ(last.mode, "cpr-exec");
  EXPECT_EQ(last.expect, record::kExpectLost);
  EXPECT_EQ(planner.plan(98).destination_side, "new");
  EXPECT_EQ(declared_reason(scenario, last), "no way back");
}

TEST(RoutePlan, WeightsAreKept) {
  const Scenario scenario = parsed(upgrade_text("mode = {precopy = 9, local = 1}\n", "iterations = 1000"));
  Planner planner(scenario);
  int local = 0;
  for (std::int64_t i = 0; i < 1000; ++i) local += planner.plan(i).mode == "local" ? 1 : 0;
  EXPECT_GT(local, 60);
  EXPECT_LT(local, 150);
}

TEST(RoutePlan, WhatCanNotBeIsRefused) {
  const std::string lost = "mode = \"cpr-exec\"\nfrom = \"new\"\nto = \"old\"\nexpect = \"lost\"\n";
  expect_refused(upgrade_text(edge(lost + "reason = \"r\"")), {"s.toml:", "migration.edge.at", "at = N"});
  expect_refused(upgrade_text(edge(lost + "reason = \"r\"\nat = 7")),
                 {"migration.edge", "last iteration of a lineage"});
  expect_refused(upgrade_text(edge("mode = \"precopy\"\nexpect = \"refused\"")), {"reason", "refused"});
  expect_refused(upgrade_text(edge("mode = \"precopy\"\nto = \"elsewhere\"")), {"migration.edge.to", "elsewhere"});
  expect_refused(upgrade_text(edge("mode = \"precop\"")), {"precop", "did you mean 'precopy'"});
  expect_refused(upgrade_text("mode = [\"precopy\"]\n" + edge("mode = \"precopy\"\nto = \"old\"")),
                 {"no mode leads from side old to side new"});
  expect_refused(upgrade_text("mode = {precopy = 0}"), {"migration.mode", "above 0"});
}

TEST(RoutePlan, HotUpgradesHaveNothingUnderWay) {
  const Scenario scenario = parsed(hotplug_text("\"pc\"",
                                                "[migration]\nmode = [\"precopy\", \"cpr-reboot\"]\n[hotplug]\n"
                                                "operations = 2\n[hotplug.kinds]\nvirtio-blk = 1\n[hotplug.timings]\n"
                                                "settled = 1\nat-once = 1\nrefused = 1\n"));
  Planner planner(scenario);
  std::set<std::string> of_precopy;
  for (std::int64_t i = 0; i < scenario.iterations; ++i) {
    const record::Plan plan = planner.plan(i);
    for (const record::PlannedOperation& operation : plan.operations) {
      if (plan.mode == "precopy") {
        of_precopy.insert(operation.timing);
      } else {
        EXPECT_EQ(operation.timing, "settled") << i;
      }
    }
  }
  EXPECT_GT(of_precopy.size(), 1u);
}

}  // namespace
}  // namespace migsoak::plan
