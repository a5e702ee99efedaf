// [[restart]]: what can be asked for, and what is drawn from it.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "plan/planner.h"
#include "scenario_text.h"

namespace migsoak::plan {
namespace {

using namespace testing;

// Line 17 is the first of `restart`.
std::string restart_text(const std::string& restart, const std::string& device = "reconnect_ms = 100",
                         const std::string& kind = "kind = \"qemu-storage-daemon\"") {
  return "name = \"s\"\niterations = 20\n[[side]]\nname = \"a\"\n[[side]]\nname = \"b\"\n[[target]]\nname = "
         "\"disk0\"\n" +
         kind + "\n[[device]]\nid = \"vd0\"\ntype = \"vhost-user-blk\"\ntarget = \"disk0\"\n" + device +
         "\n[migration]\nmode = \"precopy\"\n[[restart]]\n" + restart;
}

const std::string kRestartDisk0 = "target = \"disk0\"\n";

TEST(ScenarioRestart, KeysAndDefaults) {
  const Scenario one = parsed(restart_text(kRestartDisk0));
  EXPECT_EQ(one.devices.front().reconnect_ms, 100);
  ASSERT_EQ(one.restarts.size(), 1U);
  EXPECT_EQ(one.restarts[0].how, std::vector<std::string>{"kill"});
  EXPECT_EQ(one.restarts[0].timings, std::vector<std::string>{"between"});
  EXPECT_EQ(one.restarts[0].every, 1);
  EXPECT_EQ(one.restarts[0].expect, "recovers");
  const Scenario two =
      parsed(restart_text(kRestartDisk0 + "how = [\"kill\", \"graceful\"]\ntiming = [\"before\", \"after\"]\n"
                                          "every = 3\nexpect = \"io-errors\"\n"));
  EXPECT_EQ(two.restarts[0].how.size(), 2U);
  EXPECT_EQ(two.restarts[0].timings.size(), 2U);
  EXPECT_EQ(two.restarts[0].every, 3);
  EXPECT_EQ(two.restarts[0].expect, "io-errors");
}

TEST(ScenarioRestart, WhatCannotBeIsRefused) {
  expect_refused(restart_text("every = 2\n"), {"s.toml:17", "restart.target", "needed"});
  expect_refused(restart_text("target = \"disk1\"\n"), {"s.toml:18", "restart.target", "did you mean 'disk0'"});
  expect_refused(restart_text(kRestartDisk0 + "how = \"kil\"\n"), {"s.toml:19", "restart.how", "did you mean 'kill'"});
  expect_refused(restart_text(kRestartDisk0 + "how = []\n"), {"s.toml:19", "restart.how"});
  expect_refused(restart_text(kRestartDisk0 + "timing = \"while\"\n"),
                 {"s.toml:19", "restart.timing", "between, before, during"});
  expect_refused(restart_text(kRestartDisk0 + "every = 0\n"), {"s.toml:19", "restart.every", "out of range"});
  expect_refused(restart_text(kRestartDisk0 + "expects = \"recovers\"\n"), {"unknown key", "did you mean 'expect'"});
}

// A device that does not reconnect has lost its disk for good.
TEST(ScenarioRestart, DevicesHaveToReconnect) {
  expect_refused(restart_text(kRestartDisk0, ""),
                 {"s.toml:18", "restart.target", "device 'vd0' does not reconnect", "reconnect_ms"});
  expect_refused(restart_text(kRestartDisk0, "reconnect_ms = 0"), {"does not reconnect"});
  expect_refused(restart_text(kRestartDisk0, "reconnect_ms = 60001"),
                 {"s.toml:14", "device.reconnect_ms", "out of range"});
  expect_refused("name = \"s\"\n[[device]]\nid = \"p0\"\ntype = \"virtio-blk\"\nreconnect_ms = 100\n",
                 {"s.toml:5", "device.reconnect_ms", "no target to reconnect to"});
}

// What a storage daemon does to requests in flight when it is stopped has to be said; what one does that is killed
// is no matter of opinion.
TEST(ScenarioRestart, TheScenarioSaysWhatItExpectsOfADaemonThatStopsGracefully) {
  expect_refused(restart_text(kRestartDisk0 + "how = \"graceful\"\n"), {"s.toml:17", "restart.expect", "io-errors"});
  expect_refused(restart_text(kRestartDisk0 + "how = [\"kill\", \"graceful\"]\n"), {"restart.expect", "needed"});
  parsed(restart_text(kRestartDisk0 + "how = \"graceful\"\nexpect = \"recovers\"\n"));
  expect_refused(restart_text(kRestartDisk0 + "expect = \"io-errors\"\n"),
                 {"s.toml:19", "restart.expect", "must recover"});
  const std::string command = "kind = \"command\"\nargv = [\"t\", \"{socket}\"]";
  parsed(restart_text(kRestartDisk0 + "how = \"graceful\"\n", "reconnect_ms = 1", command));
  parsed(restart_text(kRestartDisk0 + "expect = \"io-errors\"\n", "reconnect_ms = 1", command));
}

TEST(ScenarioRestart, DrawnForItsIterationsAloneAndInSequenceAlike) {
  const Scenario scenario =
      parsed(restart_text(kRestartDisk0 +
                          "how = [\"kill\", \"graceful\"]\ntiming = [\"between\", \"during\", \"after\"]\nevery = 3\n"
                          "expect = \"io-errors\"\n"));
  Planner planner(scenario);
  std::map<std::string, int> drawn;
  for (std::int64_t i = 0; i < 300; ++i) {
    const record::Plan plan = planner.plan(i);
    EXPECT_EQ(plan, plan_iteration(scenario, i));
    ASSERT_EQ(plan.restarts.size(), i % 3 == 2 ? 1U : 0U) << i;
    if (plan.restarts.empty()) continue;
    const record::PlannedRestart& restart = plan.restarts.front();
    EXPECT_EQ(restart.target, "disk0");
    EXPECT_EQ(restart.expect, restart.how == "kill" ? "recovers" : "io-errors");
    ++drawn[restart.how + " " + restart.timing];
  }
  ASSERT_EQ(drawn.size(), 6U);
  for (const auto& [what, count] : drawn) EXPECT_GT(count, 5) << what;
}

std::string daemon_text(const std::string& restart, const std::string& driver = "libvirt") {
  return "name = \"s\"\n[[side]]\nname = \"a\"\ndriver = \"" + driver + "\"\n[[side]]\nname = \"b\"\ndriver = \"" +
         driver + "\"\n[[target]]\nname = \"disk0\"\n[[device]]\nid = \"vd0\"\ntype = \"vhost-user-blk\"\n" +
         "target = \"disk0\"\nreconnect_ms = 100\n[[restart]]\n" + restart;
}

// Line 16 is the first of `restart`.
TEST(ScenarioRestart, ADaemonIsTheLibvirtdOfASide) {
  const Scenario scenario = parsed(daemon_text("daemon = \"b\"\nhow = \"graceful\"\n"));
  ASSERT_EQ(scenario.restarts.size(), 1U);
  EXPECT_EQ(scenario.restarts[0].daemon, "b");
  EXPECT_EQ(scenario.restarts[0].target, "");
  expect_refused(daemon_text("daemon = \"c\"\n"), {"s.toml:16", "restart.daemon", "'c' is not one of a, b"});
  expect_refused(daemon_text("daemon = \"a\"\ntarget = \"disk0\"\n"), {"s.toml:16", "restart.daemon", "not of both"});
  expect_refused(daemon_text("daemon = \"a\"\ntiming = [\"between\", \"during\"]\n"),
                 {"s.toml:17", "restart.timing", "'during' needs a target", "between migrations"});
  expect_refused(daemon_text("daemon = \"a\"\nexpect = \"io-errors\"\n"), {"s.toml:17", "restart.expect"});
  expect_refused(daemon_text("daemon = \"a\"\n", "direct"), {"s.toml:16", "restart.daemon", "has no libvirtd"});
  expect_refused(daemon_text("target = \"disk0\"\n"), {"restart.target", "needs driver \"direct\""});
}

TEST(ScenarioRestart, RestartsOfDaemonsAreDrawnAndKept) {
  const Scenario scenario =
      parsed(daemon_text("daemon = \"a\"\nhow = [\"kill\", \"graceful\"]\nevery = 2\n[[restart]]\ndaemon = \"b\"\n"));
  std::set<std::string> seen;
  for (std::int64_t i = 0; i < 40; ++i) {
    const record::Plan plan = plan_iteration(scenario, i);
    EXPECT_EQ(plan, plan_iteration(scenario, i));
    EXPECT_EQ(record::plan_from_json(record::to_json(plan)).value(), plan);
    ASSERT_EQ(plan.restarts.size(), i % 2 == 1 ? 2U : 1U) << i;
    for (const auto& restart : plan.restarts) {
      EXPECT_EQ(restart.timing, "between");
      seen.insert(restart.how + " " + restart.subject());
    }
  }
  EXPECT_EQ(seen, (std::set<std::string>{"kill libvirtd:a", "graceful libvirtd:a", "kill libvirtd:b"}));
}

TEST(ScenarioRestart, TheShippedScenarioRestartsEachDaemonWithTheDomainAndWithoutIt) {
  const Scenario scenario = shipped("libvirt-daemon-restart");
  std::set<std::string> seen;
  for (std::int64_t i = 0; i < scenario.iterations; ++i) {
    const record::Plan plan = plan_iteration(scenario, i);
    for (const auto& restart : plan.restarts) {
      seen.insert(restart.how + " " + restart.daemon + (plan.source_side == restart.daemon ? " with" : " without"));
    }
  }
  EXPECT_EQ(seen.size(), 8U);
}

// The draws of restarts come last, so that a scenario that gets some keeps its migrations and operations.
TEST(ScenarioRestart, LeavesTheRestOfThePlanAlone) {
  const std::string with = restart_text(kRestartDisk0 + "timing = [\"between\", \"after\"]\n");
  const std::string without = with.substr(0, with.find("[[restart]]"));
  const std::string hotplug = "[hotplug]\noperations = 2\n[hotplug.kinds]\nvirtio-blk = 1\n";
  const Scenario plain = parsed(without + hotplug);
  const Scenario restarted = parsed(with + hotplug);
  for (std::int64_t i = 0; i < 40; ++i) {
    record::Plan plan = plan_iteration(restarted, i);
    EXPECT_EQ(plan.restarts.size(), 1U);
    plan.restarts.clear();
    EXPECT_EQ(plan, plan_iteration(plain, i)) << i;
  }
}

TEST(ScenarioRestart, TheShippedScenarioRestartsInEachWay) {
  const Scenario scenario = shipped("target-restart");
  EXPECT_GE(scenario.guest.queue_depth, 8);
  std::set<std::string> seen;
  for (std::int64_t i = 0; i < scenario.iterations; ++i) {
    for (const auto& restart : plan_iteration(scenario, i).restarts) seen.insert(restart.how + " " + restart.timing);
  }
  EXPECT_EQ(seen, (std::set<std::string>{"kill between", "kill during", "kill after", "graceful between",
                                         "graceful during", "graceful after"}));
}

}  // namespace
}  // namespace migsoak::plan
