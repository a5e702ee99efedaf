// [upgrade]: what can be asked for, and what is drawn from it.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "plan/planner.h"
#include "scenario_text.h"

namespace migsoak::plan {
namespace {

using namespace testing;

std::string text(const std::string& upgrade, const std::string& migration = "") {
  return "name = \"s\"\niterations = 20\n[[side]]\nname = \"a\"\n[[side]]\nname = \"b\"\n[migration]\n" + migration +
         "[upgrade]\n" + upgrade;
}

TEST(ScenarioUpgrade, KeysAndDefaults) {
  EXPECT_FALSE(parsed(text("")).upgrade.used());
  const Scenario one = parsed(text("failure = \"missing-binary\"\n"));
  EXPECT_EQ(one.upgrade.failures, std::vector<std::string>{"missing-binary"});
  EXPECT_EQ(one.upgrade.every, 1);
  EXPECT_EQ(one.upgrade.deadline_s, 10);
  const Scenario two = parsed(text("failure = [\"missing-binary\", \"device-init\"]\nevery = 3\ndeadline_s = 4\n"));
  EXPECT_EQ(two.upgrade.failures.size(), 2U);
  EXPECT_EQ(two.upgrade.every, 3);
  EXPECT_EQ(two.upgrade.deadline_s, 4);
}

TEST(ScenarioUpgrade, WhatCannotBeIsRefused) {
  expect_refused(text("failure = \"missing-binery\"\n"),
                 {"s.toml:9", "upgrade.failure", "did you mean 'missing-binary'"});
  expect_refused(text("every = 0\n"), {"s.toml:9", "upgrade.every", "out of range"});
  expect_refused(text("deadline_s = 0\n"), {"upgrade.deadline_s", "out of range"});
  expect_refused(text("failures = \"missing-binary\"\n"), {"unknown key", "did you mean 'failure'"});
  // precopy has no state file, and over TCP no path.
  expect_refused(text("failure = \"state-truncated\"\n"), {"s.toml:9", "upgrade.failure", "can't happen"});
  expect_refused(text("failure = \"state-unwritable\"\n", "transport = \"tcp\"\n"), {"can't happen"});
  parsed(text("failure = \"state-unwritable\"\n", "transport = \"unix\"\n"));
}

TEST(ScenarioUpgrade, DrawnForItsIterationsAloneAndInSequenceAlike) {
  const std::string some = "failure = [\"missing-binary\", \"device-init\", \"hangs-after-load\"]\n";
  const Scenario scenario = parsed(text(some));
  Planner planner(scenario);
  std::map<std::string, int> drawn;
  for (std::int64_t i = 0; i < 300; ++i) {
    const record::Plan plan = planner.plan(i);
    ++drawn[plan.upgrade_failure];
    EXPECT_EQ(plan_iteration(scenario, i), plan) << i;
  }
  EXPECT_EQ(drawn.size(), 3U);
  for (const auto& [name, count] : drawn) EXPECT_GT(count, 60) << name;

  const Scenario third = parsed(text(some + "every = 3\n"));
  for (std::int64_t i = 0; i < 30; ++i) {
    EXPECT_EQ(plan_iteration(third, i).upgrade_failure.empty(), i % 3 != 2) << i;
  }
}

// It is the last draw: a scenario that gets an [upgrade] keeps its other plans.
TEST(ScenarioUpgrade, ChangesNothingElse) {
  const std::string hotplug = "[hotplug]\noperations = 3\n[hotplug.kinds]\nvirtio-blk = 1\ncpu = 1\n";
  const Scenario without = parsed(hotplug_text("\"q35\"", hotplug));
  const Scenario with = parsed(hotplug_text("\"q35\"", hotplug + "[upgrade]\nfailure = \"missing-binary\"\n"));
  Planner one(without);
  Planner other(with);
  for (std::int64_t i = 0; i < 60; ++i) {
    record::Plan plan = other.plan(i);
    EXPECT_EQ(plan.upgrade_failure, "missing-binary");
    plan.upgrade_failure.clear();
    EXPECT_EQ(plan, one.plan(i)) << i;
  }
}

}  // namespace
}  // namespace migsoak::plan
