// [[target]]: its keys, the options of its kind, and which devices it can serve.
#include <gtest/gtest.h>

#include "engine/target_spec.h"
#include "plan/scenario_text.h"

namespace migsoak::engine {
namespace {

using namespace plan::testing;
using ::testing::ElementsAre;

// Line 4 is the first of `keys`.
std::string served_text(const std::string& keys, const std::string& more = "") {
  return "name = \"s\"\n[[target]]\nname = \"disk0\"\n" + keys +
         "\n[[device]]\nid = \"vd0\"\ntype = \"vhost-user-blk\"\ntarget = \"disk0\"\n" + more;
}

TargetScenario target_of_text(const std::string& keys) {
  const Scenario scenario = parsed(served_text(keys));
  return scenario.targets.empty() ? TargetScenario{} : scenario.targets.front();
}

std::vector<std::string> argv_of(const std::string& keys) {
  const Scenario scenario = parsed(served_text(keys));
  const auto argv = target::command_line(target_spec(scenario, scenario.targets.front(), {}, "/r"));
  EXPECT_TRUE(argv) << argv.error().describe();
  return argv ? *argv : std::vector<std::string>{};
}

TEST(ScenarioTarget, OptionsStandInATableOrInTheTargetItself) {
  const auto plain = argv_of("");
  EXPECT_EQ(plain.front(), "qemu-storage-daemon");
  const auto old_way = argv_of("aio = \"native\"\nworkers = 2\nexecutable = \"/opt/qsd\"");
  EXPECT_EQ(argv_of("binary = \"/opt/qsd\"\n[target.options]\naio = \"native\"\nworkers = 2"), old_way);
  EXPECT_NE(old_way, plain);
  EXPECT_EQ(old_way.front(), "/opt/qsd");
  EXPECT_THAT(argv_of("kind = \"command\"\nargv = [\"serve\", \"{socket}\"]"), ElementsAre("serve", "/r/disk0.sock"));
  EXPECT_THAT(argv_of("kind = \"command\"\n[target.options]\nargv = [\"serve\", \"{socket}\"]"),
              ElementsAre("serve", "/r/disk0.sock"));
  EXPECT_EQ(argv_of("binary = \"\"").front(), "qemu-storage-daemon");
}

TEST(ScenarioTarget, AnOptionIsSetFromTheCommandLine) {
  const auto scenario = plan::parse_scenario(served_text(""), "s.toml", "/",
                                             {"target.disk0.options.workers=5", "target.disk0.options.aio=io_uring"});
  ASSERT_TRUE(scenario) << scenario.error().describe();
  EXPECT_EQ(scenario->targets.front().options.at("workers"), 5);
  const auto command = plan::parse_scenario(served_text("kind = \"command\""), "s.toml", "/",
                                            {"target.disk0.options.argv=[\"x\", \"{socket}\"]"});
  ASSERT_TRUE(command) << command.error().describe();
  const auto refused = plan::parse_scenario(served_text(""), "s.toml", "/", {"target.disk0.options.wokers=5"});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().describe(), ::testing::HasSubstr("target.options.wokers: unknown option"));
}

TEST(ScenarioTarget, WhatCannotBeIsRefusedWithItsPlace) {
  expect_refused(served_text("[target.options]\naoi = \"native\""),
                 {"s.toml:5", "target.options.aoi", "kind \"qemu-storage-daemon\"", "did you mean 'aio'"});
  expect_refused(served_text("[target.options]\naio = \"nativ\""),
                 {"s.toml:5", "target.options.aio", "threads, native, io_uring", "did you mean 'native'"});
  expect_refused(served_text("[target.options]\nworkers = \"2\""), {"s.toml:5", "workers", "a whole number"});
  expect_refused(served_text("[target.options]\nworkers = {a = 1}"), {"s.toml:5", "target.0.options.workers", "list"});
  expect_refused(served_text("aio = \"nativ\""), {"s.toml:4", "target.aio", "did you mean 'native'"});
  expect_refused(served_text("workers = 5000"), {"s.toml:4", "target.workers", "out of range"});
  expect_refused(served_text("workers = 1\n[target.options]\nworkers = 2"),
                 {"s.toml:4", "target.workers", "[target.options]"});
  expect_refused(served_text("argv = [\"x\"]"), {"s.toml:4", "target.argv", "kind = \"command\" only"});
  expect_refused(served_text("kind = \"command\""), {"s.toml:2", "target.argv", "a program and its arguments"});
  expect_refused(served_text("kind = \"command\"\nargv = [\"x\", \"{socket}\"]\naio = \"nativ\""),
                 {"s.toml:6", "target.aio"});
  expect_refused(served_text("binary = \"x\"\nexecutable = \"y\""), {"s.toml:5", "target.executable", "binary"});
  expect_refused(served_text("kind = \"command\"\nargv = [\"x\", \"{socket}\"]\nbinary = \"y\""),
                 {"s.toml:6", "target.binary"});
  expect_refused(served_text("share = \"per-sid\""), {"s.toml:4", "target.share", "did you mean 'per-side'"});
}

TEST(ScenarioTarget, AProcessPerVmServesWhatItsVmStartsWith) {
  const std::string per_vm = "share = \"per-vm\"";
  EXPECT_EQ(target_of_text(per_vm).share, TargetShare::per_vm);
  EXPECT_EQ(target_of_text("").share, TargetShare::one);
  expect_refused(served_text(per_vm,
                             "[hotplug]\noperations = 1\ntarget = \"disk0\"\n[hotplug.kinds]\n"
                             "vhost-user-blk = 1\n"),
                 {"s.toml:11", "hotplug.target", "per-vm"});
  expect_refused(served_text(per_vm, "[migration]\nmode = [\"precopy\", \"cpr-exec\"]\n"),
                 {"s.toml:4", "target.share", "cpr-exec"});
  parsed(served_text(per_vm, "[migration]\nmode = [\"precopy\", \"cpr-transfer\", \"cpr-reboot\"]\n"));
}

TEST(ScenarioTarget, OneThatEndsWithItsClientHasAProcessPerVm) {
  const std::string command = "kind = \"command\"\nargv = [\"x\", \"{socket}\"]\n";
  const std::string option = "[target.options]\nends_with_client = true";
  EXPECT_EQ(target_of_text(command).share, TargetShare::one);
  EXPECT_EQ(target_of_text(command + option).share, TargetShare::per_vm);
  EXPECT_EQ(target_of_text(command + "share = \"per-vm\"\n" + option).share, TargetShare::per_vm);
  expect_refused(served_text(command + "share = \"one\"\n" + option), {"s.toml:6", "target.share", "per-vm"});
}

// As it always was: a daemon's key in a command's target means nothing.
TEST(ScenarioTarget, ADaemonsKeysDoNotDisturbACommand) {
  const TargetScenario target = target_of_text(
      "kind = \"command\"\nargv = [\"x\", \"{socket}\"]\naio = \"native\"\nworkers = 3\nexecutable = \"y\"");
  EXPECT_EQ(target.options.size(), 1U);
  EXPECT_EQ(target::program_of(target), "x");
  EXPECT_EQ(target.program_key, "argv");
}

TEST(ScenarioTarget, ProgramsArePathsOfTheScenariosDirectory) {
  const auto program = [](const std::string& keys) {
    const auto scenario = plan::parse_scenario(served_text(keys), "s.toml", "/etc/soak", {});
    EXPECT_TRUE(scenario) << scenario.error().describe();
    return scenario ? target::program_of(scenario->targets.front()) : "";
  };
  EXPECT_EQ(program("binary = \"./qsd\""), "/etc/soak/qsd");
  EXPECT_EQ(program("executable = \"../qsd\""), "/etc/qsd");
  EXPECT_EQ(program("binary = \"qsd\""), "qsd");
  EXPECT_EQ(program("kind = \"command\"\nargv = [\"bin/x\", \"{socket}\"]"), "/etc/soak/bin/x");
  EXPECT_EQ(program("kind = \"command\"\n[target.options]\nargv = [\"bin/x\", \"{socket}\"]"), "/etc/soak/bin/x");
}

TEST(ScenarioTarget, ACommandServesOneDevice) {
  const std::string second = "[[device]]\nid = \"vd1\"\ntype = \"vhost-user-blk\"\ntarget = \"disk0\"\n";
  parsed(served_text("", second));
  expect_refused(served_text("kind = \"command\"\nargv = [\"x\", \"{socket}\"]", second),
                 {"s.toml:13", "device.target", "serves device 'vd0' already"});
}

TEST(ScenarioTarget, ADeviceIsServedByItsOwnTargetOrByThatOfHotplug) {
  const Scenario scenario = parsed(
      served_text("",
                  "[[target]]\nname = \"disk1\"\n[hotplug]\noperations = 1\ntarget = \"disk1\"\n[hotplug.kinds]\n"
                  "vhost-user-blk = 1\nvirtio-blk = 1\n"));
  EXPECT_THAT(plugged_vhost_user_types(scenario), ElementsAre("vhost-user-blk"));
  hypervisor::DeviceSpec device;
  device.id = "vd0";
  device.type = "vhost-user-blk";
  ASSERT_NE(target_of(scenario, device), nullptr);
  EXPECT_EQ(target_of(scenario, device)->name, "disk0");
  device.id = "vu0";
  ASSERT_NE(target_of(scenario, device), nullptr);
  EXPECT_EQ(target_of(scenario, device)->name, "disk1");
  device.type = "virtio-blk";
  EXPECT_EQ(target_of(scenario, device), nullptr);
}

}  // namespace
}  // namespace migsoak::engine
