// [migration.libvirt]: what can be asked for, and what is drawn from it.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "hypervisor/libvirt_ways.h"
#include "plan/planner.h"
#include "scenario_text.h"

namespace migsoak::plan {
namespace {

using namespace testing;

std::string libvirt_text(const std::string& libvirt, const std::string& migration = "",
                         const std::string& driver = "libvirt") {
  return "name = \"s\"\niterations = 20\n[[side]]\nname = \"a\"\ndriver = \"" + driver +
         "\"\n[[side]]\nname = \"b\"\ndriver = \"" + driver + "\"\n[migration]\n" + migration + libvirt;
}
std::string ways(const std::string& keys, const std::string& migration = "") {
  return libvirt_text("[migration.libvirt]\n" + keys, migration);
}
bool has(const record::Plan& plan, const std::string& flag) {
  const auto& flags = plan.libvirt->flags;
  return std::find(flags.begin(), flags.end(), flag) != flags.end();
}

TEST(ScenarioLibvirt, WithoutTheTablePeerToPeerOverTheTransport) {
  const record::Plan plan = plan_iteration(parsed(libvirt_text("", "transport = \"tcp\"\n")), 0);
  EXPECT_EQ(plan.libvirt, record::LibvirtWay{});
  EXPECT_EQ(plan.transport, "tcp");
  EXPECT_EQ(plan_iteration(parsed(libvirt_text("", "", "direct")), 0).libvirt, std::nullopt);
}

TEST(ScenarioLibvirt, OneWordOfEachIsTaken) {
  const record::Plan plan = plan_iteration(
      parsed(ways("managed = \"client\"\ntransport = \"native\"\nflags = [\"persist-dest\", \"parallel\"]\n"
                  "bandwidth_mib = 50\nparallel_connections = 3\n")),
      3);
  const record::LibvirtWay asked{"client", {"parallel", "persist-dest"}, 50, 3};
  EXPECT_EQ(plan.libvirt, asked);
  EXPECT_EQ(plan.transport, "unix");
  EXPECT_EQ(record::plan_from_json(record::to_json(plan)).value(), plan);
}

TEST(ScenarioLibvirt, APlanThatIsNoneIsRefused) {
  base::Json json = record::to_json(plan_iteration(parsed(ways("flags = [\"unsafe\"]\n")), 0));
  json["libvirt"]["flags"] = base::Json::array({1});
  EXPECT_FALSE(record::plan_from_json(json));
  json["libvirt"] = "client";
  EXPECT_FALSE(record::plan_from_json(json));
}

TEST(ScenarioLibvirt, WhatCannotBeIsRefused) {
  expect_refused(ways("managed = \"clinet\"\n"),
                 {"s.toml:11", "migration.libvirt.managed", "peer-to-peer, client", "did you mean 'client'"});
  expect_refused(ways("transport = \"tunneled\"\n"), {"migration.libvirt.transport", "did you mean 'tunnelled'"});
  expect_refused(ways("transport = []\n"), {"migration.libvirt.transport", "at least one"});
  expect_refused(ways("flags = [\"paralel\"]\n"), {"s.toml:11", "migration.libvirt.flags", "did you mean 'parallel'"});
  expect_refused(ways("flags = { paralel = 3 }\n"), {"migration.libvirt.flags", "did you mean 'parallel'"});
  expect_refused(ways("flags = { parallel = 101 }\n"), {"migration.libvirt.flags", "0 to 100"});
  expect_refused(ways("flag = [\"parallel\"]\n"), {"unknown key", "did you mean 'flags'"});
  expect_refused(ways("bandwidth_mib = -1\n"), {"migration.libvirt.bandwidth_mib", "out of range"});
  expect_refused(ways("parallel_connections = 2\n"), {"s.toml:11", "parallel_connections", "\"parallel\" only"});
  expect_refused(libvirt_text("[migration.libvirt]\nmanaged = \"client\"\n", "", "direct"),
                 {"s.toml:11", "migration.libvirt.managed", "needs driver \"libvirt\""});
}

TEST(ScenarioLibvirt, WhatDoesNotGoTogetherIsRefusedWhereItIsAllThereIs) {
  expect_refused(ways("managed = \"client\"\ntransport = \"tunnelled\"\n"),
                 {"s.toml:11", "migration.libvirt.managed", "needs managed = \"peer-to-peer\""});
  expect_refused(ways("managed = \"client\"\ntransport = [\"tcp\", \"tunnelled\"]\n"),
                 {"s.toml:12", "migration.libvirt.transport", "needs managed = \"peer-to-peer\""});
  expect_refused(ways("transport = \"tunnelled\"\nflags = [\"parallel\"]\n"),
                 {"s.toml:12", "migration.libvirt.flags", "does not go with \"tunnelled\""});
  expect_refused(ways("transport = \"saved\"\nflags = [\"unsafe\"]\n"), {"s.toml:12", "flags", "no live migration"});
  expect_refused(ways("flags = [\"postcopy\", \"parallel\"]\n"), {"flags", "does not go with \"parallel\""});
  expect_refused(ways("flags = [\"parallel\", \"compressed\"]\n"), {"flags", "does not go with \"compressed\""});
  expect_refused(ways("transport = \"tcp\"\nflags = [\"zerocopy\"]\n"), {"flags", "needs the flag \"parallel\""});
  expect_refused(ways("flags = [\"zerocopy\", \"parallel\"]\n"), {"flags", "needs transport \"tcp\""});
  // A chance of each: drawn where it goes.
  parsed(ways("transport = [\"tcp\", \"tunnelled\"]\nflags = { zerocopy = 10, parallel = 10, compressed = 10 }\n"));
}

TEST(ScenarioLibvirt, EachWayIsDrawnAndNoneThatIsNone) {
  const Scenario scenario = shipped("libvirt-modes");
  Planner planner(scenario);
  std::set<std::string> seen;
  std::map<std::string, int> flags;
  for (std::int64_t i = 0; i < scenario.iterations; ++i) {
    const record::Plan plan = planner.plan(i);
    EXPECT_EQ(plan_iteration(scenario, i), plan) << i;
    EXPECT_EQ(hypervisor::libvirt_conflict(plan.transport, *plan.libvirt), "") << i;
    EXPECT_EQ(plan.libvirt->parallel_connections, has(plan, "parallel") ? 3 : 0) << i;
    seen.insert(plan.libvirt->managed + " " + plan.transport);
    for (const std::string& flag : plan.libvirt->flags) ++flags[flag];
  }
  EXPECT_EQ(seen, (std::set<std::string>{"client saved", "client tcp", "client unix", "peer-to-peer saved",
                                         "peer-to-peer tcp", "peer-to-peer tunnelled", "peer-to-peer unix"}));
  EXPECT_EQ(flags.size(), scenario.libvirt.flags.size());
  for (const auto& [name, count] : flags) EXPECT_GT(count, scenario.iterations / 10) << name;
}

// It is the last draw: a scenario that gets the table keeps its other plans.
TEST(ScenarioLibvirt, ChangesNothingElse) {
  const std::string hotplug =
      "[hotplug]\noperations = 2\n[hotplug.kinds]\nvirtio-blk = 1\nvirtio-rng = 1\n[guest]\nmachine = \"q35\"\n";
  const Scenario without = parsed(libvirt_text(hotplug));
  const Scenario with = parsed(ways("managed = \"client\"\nflags = { parallel = 50 }\n" + hotplug));
  for (std::int64_t i = 0; i < 20; ++i) {
    record::Plan plan = plan_iteration(with, i);
    plan.libvirt = record::LibvirtWay{};
    EXPECT_EQ(plan, plan_iteration(without, i)) << i;
  }
}

}  // namespace
}  // namespace migsoak::plan
