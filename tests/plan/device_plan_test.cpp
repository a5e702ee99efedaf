// What a guest boots with, where devices may go, and steps that are asked for by name.
#include "plan/device_plan.h"

#include <gtest/gtest.h>

#include "plan/planner.h"
#include "scenario_text.h"

namespace migsoak::plan {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr const char* kQ35 = "\"q35\"";
constexpr const char* kPc = "\"pc\"";

const hypervisor::DeviceSpec* find_in(const hypervisor::DeviceSet& devices, const std::string& id) {
  const auto found = std::find_if(devices.begin(), devices.end(), [&](const auto& device) { return device.id == id; });
  return found == devices.end() ? nullptr : &*found;
}

TEST(DevicePlan, WhatAGuestBootsWithHasPinnedAddresses) {
  const std::string kinds = "[hotplug]\noperations = 1\nports = 3\n[hotplug.kinds]\nscsi-disk = 1\nvirtio-rng = 1\n";
  const Scenario scenario = parsed(hotplug_text(kQ35, kinds));
  const auto on_q35 = boot_devices(scenario, "q35");
  ASSERT_TRUE(on_q35) << on_q35.error().describe();
  for (const char* id : {"vd0", "scsi0", "rp0", "rp1", "rp2"}) {
    const hypervisor::DeviceSpec* device = find_in(*on_q35, id);
    ASSERT_NE(device, nullptr) << id;
    EXPECT_FALSE(device->address.empty()) << id;
  }
  EXPECT_THAT(*on_q35, SizeIs(5));
  const auto on_pc = boot_devices(scenario, "pc-i440fx-7.2");
  ASSERT_TRUE(on_pc);
  EXPECT_THAT(*on_pc, SizeIs(2)) << "no root ports on a conventional bus";
  EXPECT_TRUE(is_pcie("pc-q35-7.2") && is_pcie("q35") && !is_pcie("pc") && !is_pcie("pc-i440fx-7.2"));
}

TEST(DevicePlan, ARefusedOperationLeavesTheSetAsItWas) {
  hypervisor::DeviceSet devices = boot_devices(parsed(hotplug_text(kPc, "")), "pc").value_or(hypervisor::DeviceSet{});
  record::PlannedOperation operation{"virtio-blk", "plug", "refused", "vb0", "", "0x9"};
  apply_operation(operation, devices);
  EXPECT_THAT(devices, SizeIs(1));
  operation.timing = "at-once";
  apply_operation(operation, devices);
  ASSERT_THAT(devices, SizeIs(2));
  EXPECT_EQ(devices.back().address, "0x9");
  operation.action = "unplug";
  operation.timing = "refused";
  apply_operation(operation, devices);
  EXPECT_THAT(devices, SizeIs(2));
  operation.timing = "settled";
  apply_operation(operation, devices);
  EXPECT_THAT(devices, SizeIs(1));
}

TEST(DevicePlan, PropertiesOfASideAreItsKindsAndOverrides) {
  const Scenario scenario = parsed(hotplug_text(
      kPc,
      "[device.props]\nserial = \"x\"\n[device.on.b]\nserial = \"y\"\n[hotplug]\noperations = 1\n[hotplug.kinds]\n"
      "virtio-blk = 1\n[hotplug.props.virtio-blk]\ndiscard = true\nnum-queues = 2\n[hotplug.on.a.virtio-blk]\n"
      "discard = false\n"));
  hypervisor::DeviceSpec cold{"vd0", "virtio-blk", "", "", {}}, hot{"vb0", "virtio-blk", "", "", {}};
  EXPECT_EQ(properties_of(scenario, cold, "a").at("serial"), "x");
  EXPECT_EQ(properties_of(scenario, cold, "b").at("serial"), "y");
  EXPECT_FALSE(properties_of(scenario, cold, "a").contains("discard")) << "of plugged disks only";
  EXPECT_EQ(properties_of(scenario, hot, "a").at("discard"), false);
  EXPECT_EQ(properties_of(scenario, hot, "b").at("discard"), true);
  EXPECT_EQ(properties_of(scenario, hot, "a").at("num-queues"), 2);
}

TEST(DevicePlan, DisksThatARunMayPlugAreKnownFromTheStart) {
  const Scenario scenario = parsed(hotplug_text(
      kPc,
      "[hotplug]\n[[hotplug.step]]\nkind = \"virtio-blk\"\ndevice = \"extra\"\n[[hotplug.step]]\niteration = 1\n"
      "kind = \"virtio-rng\"\n"));
  const hypervisor::DeviceSet disks = pluggable_disks(scenario);
  EXPECT_NE(find_in(disks, "extra"), nullptr);
  EXPECT_NE(find_in(disks, "vb0"), nullptr);
  for (const hypervisor::DeviceSpec& disk : disks) EXPECT_EQ(disk.type, "virtio-blk");
}

std::vector<std::string> places_in(const Scenario& scenario, std::int64_t iterations) {
  Planner planner(scenario);
  std::vector<std::string> out;
  for (std::int64_t i = 0; i < iterations; ++i) {
    for (const auto& operation : planner.plan(i).operations) {
      out.push_back(operation.action + " " + operation.device + " " + operation.bus + "/" + operation.address);
    }
    EXPECT_THAT(planner.undone_steps(), IsEmpty()) << i;
  }
  return out;
}

TEST(DevicePlan, StepsGoWhereTheySay) {
  const std::string steps =
      "[hotplug]\n[[hotplug.step]]\nkind = \"virtio-blk\"\ndevice = \"mine\"\naddress = \"ADDRESS\"\n"
      "[[hotplug.step]]\niteration = 1\nkind = \"scsi-disk\"\naddress = \"3\"\n"
      "[[hotplug.step]]\niteration = 2\naction = \"unplug\"\nkind = \"virtio-blk\"\n device = \"mine\"\n"
      "[[hotplug.step]]\niteration = 3\naction = \"unplug\"\nkind = \"scsi-disk\"\n";
  const auto with = [&steps](const std::string& address) {
    std::string text = steps;
    return text.replace(text.find("ADDRESS"), 7, address);
  };
  EXPECT_THAT(places_in(parsed(hotplug_text(kPc, with("0x0A"))), 4),
              ElementsAre("plug mine /0xa", "plug sd0 scsi0.0/0x3", "unplug mine /0xa", "unplug sd0 scsi0.0/0x3"));
  EXPECT_THAT(
      places_in(parsed(hotplug_text(kQ35, with("rp5"))), 4),
      ElementsAre("plug mine rp5/0x0", "plug sd0 scsi0.0/0x3", "unplug mine rp5/0x0", "unplug sd0 scsi0.0/0x3"));
}

// Drawn operations take neither the ids nor the places that a later step names.
TEST(DevicePlan, WhatStepsNameIsLeftToThem) {
  const std::string text =
      "[hotplug]\noperations = 6\nplugged_max = 20\n[hotplug.kinds]\nvirtio-blk = 1\nvirtio-rng = 1\n"
      "[[hotplug.step]]\niteration = 9\nkind = \"virtio-blk\"\ndevice = \"vb1\"\naddress = \"0x9\"\n"
      "[[hotplug.step]]\niteration = 15\naction = \"unplug\"\nkind = \"virtio-blk\"\ndevice = \"vb1\"\n";
  for (int seed = 1; seed <= 20; ++seed) {
    const Scenario scenario = parsed("seed = " + std::to_string(seed) + "\n" + hotplug_text(kPc, text));
    Planner planner(scenario);
    int named = 0, drawn = 0;
    for (std::int64_t i = 0; i < 20; ++i) {
      for (const auto& operation : planner.plan(i).operations) {
        const bool ours = operation.device == "vb1" || operation.address == "0x9";
        (ours ? named : drawn) += 1;
        if (ours) {
          EXPECT_TRUE(i == 9 || i == 15) << i << " seed " << seed;
        }
      }
    }
    EXPECT_EQ(named, 2) << seed;
    EXPECT_GT(drawn, 40) << seed;
  }
}

// What is drawn goes where there is room; with none left, nothing is plugged.
TEST(DevicePlan, AFullBusIsNoErrorOfDrawnOperations) {
  const Scenario scenario = parsed(
      hotplug_text(kQ35, "[hotplug]\noperations = 20\nplugged_max = 64\nports = 2\n[hotplug.kinds]\nvirtio-rng = 1\n"));
  Planner planner(scenario);
  std::size_t most = 0;
  for (std::int64_t i = 0; i < 20; ++i) {
    (void)planner.plan(i);
    const hypervisor::DeviceSet now = planner.devices_before(i);
    const auto plugged = std::count_if(now.begin(), now.end(), [](const auto& d) { return d.type == "virtio-rng"; });
    most = std::max(most, static_cast<std::size_t>(plugged));
  }
  EXPECT_EQ(most, 2U);
}

}  // namespace
}  // namespace migsoak::plan
