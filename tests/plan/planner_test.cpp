// Plans are a function of scenario, seed and number, whatever was planned before.
#include "plan/planner.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <tuple>

#include "sanitized.h"
#include "scenario_text.h"

namespace migsoak::plan {
namespace {

using namespace testing;

std::vector<record::Plan> in_sequence(const Scenario& scenario, std::int64_t count) {
  Planner planner(scenario);
  std::vector<record::Plan> plans;
  for (std::int64_t i = 0; i < count; ++i) plans.push_back(planner.plan(i));
  return plans;
}

TEST(Planner, SameSeedSamePlans) {
  const Scenario scenario = shipped("hotplug-pingpong");
  EXPECT_EQ(in_sequence(scenario, 300), in_sequence(scenario, 300));
  EXPECT_NE(in_sequence(scenario, 30), in_sequence(shipped("hotplug-pingpong", {"seed=2"}), 30));
}

// Forward, backward, from the middle, and without anything before.
void expect_plans_alone(const Scenario& scenario, std::int64_t count) {
  const std::vector<record::Plan> plans = in_sequence(scenario, count);
  Planner backward(scenario);
  for (std::int64_t i = count - 1; i >= 0; i -= 7) {
    const record::Plan& expected = plans[static_cast<std::size_t>(i)];
    EXPECT_EQ(plan_iteration(scenario, i), expected) << "iteration " << i;
    EXPECT_EQ(backward.plan(i), expected) << "iteration " << i;
    EXPECT_EQ(backward.plan(i), expected) << "asked twice, iteration " << i;
  }
}

TEST(Planner, AloneAsInSequence) {
  // Each plan from nothing, so the square of it.
  const int count = kSanitized ? 20 : 120;
  expect_plans_alone(shipped("hotplug-pingpong", {"run.lineage=0", "guest.machine=pc"}), count);
  expect_plans_alone(shipped("hotplug-pingpong", {"run.lineage=13"}), count);
  expect_plans_alone(shipped("config-space-discard"), 6);
}

TEST(Planner, AloneAsInSequenceOverPairs) {
  expect_plans_alone(shipped("version-matrix"), 400);
}

TEST(Planner, LineagesTakeMachinesInTurnAndBeginAnew) {
  const Scenario scenario = shipped("hotplug-pingpong", {"run.lineage=10"});
  Planner planner(scenario);
  for (std::int64_t i = 0; i < 60; ++i) {
    const record::Plan plan = planner.plan(i);
    const bool pc = i / 10 % 2 == 0;
    EXPECT_EQ(plan.machine, pc ? "pc" : "q35") << i;
    EXPECT_EQ(planner.lineage_begin(i), i / 10 * 10);
    EXPECT_EQ(plan.source_side, i % 2 == 0 ? "a" : "b") << i;
  }
  // What a lineage began with, whatever was planned in between.
  const auto boot = boot_devices(scenario, "pc");
  ASSERT_TRUE(boot);
  for (const std::int64_t begin : {0, 20, 40}) EXPECT_EQ(planner.devices_before(begin).size(), boot->size()) << begin;
}

TEST(Planner, PairsCoverAllOrderedPairsBootedOnTheFirst) {
  const Scenario scenario = shipped("version-matrix");
  const auto sides = static_cast<std::int64_t>(scenario.sides.size());
  const std::int64_t length = scenario.lineage_iterations;
  ASSERT_EQ(sides, 5);
  const std::int64_t planned = length * sides * (sides - 1);
  EXPECT_GE(scenario.iterations, planned) << "a pair would be left out";
  Planner planner(scenario);
  std::set<std::pair<std::string, std::string>> pairs;
  std::set<std::string> plugged_kinds;
  for (std::int64_t begin = 0; begin < planned; begin += length) {
    const record::Plan first = planner.plan(begin);
    EXPECT_NE(first.source_side, first.destination_side);
    EXPECT_TRUE(pairs.emplace(first.source_side, first.destination_side).second) << "twice, at iteration " << begin;
    for (std::int64_t i = 0; i < length; ++i) {
      const record::Plan plan = planner.plan(begin + i);
      const bool forth = i % 2 == 0;
      EXPECT_EQ(plan.source_side, forth ? first.source_side : first.destination_side) << begin + i;
      EXPECT_EQ(plan.destination_side, forth ? first.destination_side : first.source_side) << begin + i;
      for (const record::PlannedOperation& operation : plan.operations) {
        if (operation.action != "plug") continue;
        plugged_kinds.insert(operation.kind);
        if (scenario.hotplug.plug_on_first) {
          EXPECT_TRUE(forth) << begin + i;
        }
      }
    }
  }
  EXPECT_EQ(pairs.size(), static_cast<std::size_t>(sides * (sides - 1)));
  EXPECT_TRUE(plugged_kinds.contains("virtio-blk") && plugged_kinds.contains("vhost-user-blk"));
}

TEST(Planner, ASweepPlugsOnTheFirstSideOnly) {
  const Scenario scenario = shipped("config-space-discard", {"iterations=12"});
  int plugged = 0;
  std::set<std::string> addresses;
  for (const record::Plan& plan : in_sequence(scenario, 12)) {
    for (const record::PlannedOperation& operation : plan.operations) {
      EXPECT_EQ(plan.source_side, "old");
      EXPECT_EQ(operation.action, "plug");
      EXPECT_TRUE(addresses.insert(operation.address).second) << operation.address;
      ++plugged;
    }
  }
  EXPECT_EQ(plugged, scenario.hotplug.sweep);
}

// What must hold of each plan, folded over a lineage by the test itself.
class HotplugFold {
 public:
  explicit HotplugFold(const Scenario& scenario) : scenario_(scenario) {}

  void begin(const std::string& machine) {
    machine_ = machine;
    devices_ = boot_devices(scenario_, machine).value_or(hypervisor::DeviceSet{});
    boot_count_ = devices_.size();
    EXPECT_FALSE(devices_.empty());
  }
  void take(const record::Plan& plan) {
    std::set<std::string> touched;
    for (const record::PlannedOperation& operation : plan.operations) {
      SCOPED_TRACE(record::to_json(operation).dump() + " on " + machine_);
      EXPECT_TRUE(touched.insert(operation.device).second) << "twice in an iteration";
      EXPECT_TRUE(touched.insert(place_of(operation.kind, operation.bus, operation.address)).second) << "a place twice";
      if (operation.action == "plug") {
        check_plug(operation);
      } else {
        check_unplug(operation);
      }
      const std::size_t before = devices_.size();
      apply_operation(operation, devices_);
      if (operation.timing == "refused") {
        EXPECT_EQ(devices_.size(), before);
      }
      ++seen_[{machine_, operation.kind, operation.action}];
      ++timings_[{machine_, operation.timing}];
      ++total_;
    }
    check_set();
  }
  const hypervisor::DeviceSet& devices() const { return devices_; }
  int total() const { return total_; }
  int seen(const std::string& machine, const std::string& kind, const std::string& action) const {
    const auto found = seen_.find({machine, kind, action});
    return found == seen_.end() ? 0 : found->second;
  }
  int timing(const std::string& machine, const std::string& name) const {
    const auto found = timings_.find({machine, name});
    return found == timings_.end() ? 0 : found->second;
  }

 private:
  static bool on_pci(const std::string& type) {
    const std::set<std::string> elsewhere = {"scsi-disk", "serial-port", "memory", "cpu"};
    return !elsewhere.contains(type);
  }
  static std::string place_of(const std::string& type, const std::string& bus, const std::string& address) {
    return (bus.empty() && !on_pci(type) ? type : bus) + "/" + address;
  }
  const hypervisor::DeviceSpec* find(const std::string& id) const {
    const auto found = std::find_if(devices_.begin(), devices_.end(), [&](const auto& d) { return d.id == id; });
    return found == devices_.end() ? nullptr : &*found;
  }
  std::int64_t cpus() const {
    return std::count_if(devices_.begin(), devices_.end(), [](const auto& device) { return device.type == "cpu"; });
  }
  void check_plug(const record::PlannedOperation& operation) const {
    EXPECT_EQ(find(operation.device), nullptr) << "it is there already";
    for (const hypervisor::DeviceSpec& device : devices_) {
      EXPECT_NE(place_of(device.type, device.bus, device.address),
                place_of(operation.kind, operation.bus, operation.address))
          << "taken by " << device.id;
    }
    const bool port = on_pci(operation.kind) && machine_ == "q35";
    EXPECT_EQ(operation.bus.starts_with("rp"), port);
    if (port) {
      EXPECT_NE(find(operation.bus), nullptr) << "no such root port";
      EXPECT_EQ(operation.address, "0x0");
    } else if (on_pci(operation.kind)) {
      const auto slot = std::stoi(operation.address, nullptr, 16);
      EXPECT_TRUE(slot >= hypervisor::kFirstSlot && slot <= hypervisor::kLastSlot) << slot;
    }
    if (operation.kind == "cpu") {
      EXPECT_EQ(std::stoi(operation.address, nullptr, 16), cpus() + 1) << "not in a row";
    }
  }
  void check_unplug(const record::PlannedOperation& operation) const {
    const hypervisor::DeviceSpec* device = find(operation.device);
    ASSERT_NE(device, nullptr) << "it is not there";
    EXPECT_EQ(device->bus, operation.bus);
    EXPECT_EQ(device->address, operation.address);
    EXPECT_EQ(device->type, operation.kind);
    EXPECT_GE(device - devices_.data(), static_cast<std::ptrdiff_t>(boot_count_)) << "it was there from the start";
    const auto& keep = scenario_.hotplug.keep;
    EXPECT_EQ(std::count(keep.begin(), keep.end(), operation.kind), 0) << "its kind is kept";
    if (operation.kind == "cpu") {
      EXPECT_EQ(std::stoi(operation.address, nullptr, 16), cpus()) << "not the last";
    }
    const std::set<std::string> settles = {"cpu", "memory", "serial-port"};
    if (settles.contains(operation.kind)) {
      EXPECT_NE(operation.timing, "at-once");
    }
  }
  void check_set() const {
    std::set<std::string> ids, places;
    std::map<std::string, int> of_kind;
    int counted = 0;
    for (const hypervisor::DeviceSpec& device : devices_) {
      EXPECT_TRUE(ids.insert(device.id).second) << device.id;
      EXPECT_TRUE(places.insert(place_of(device.type, device.bus, device.address)).second) << device.id;
      const bool cold = &device - devices_.data() < static_cast<std::ptrdiff_t>(boot_count_);
      const auto& keep = scenario_.hotplug.keep;
      if (cold) continue;
      ++of_kind[device.type];
      if (std::find(keep.begin(), keep.end(), device.type) == keep.end()) ++counted;
    }
    EXPECT_LE(counted, scenario_.hotplug.plugged_max);
    EXPECT_LE(of_kind["memory"], 4);
    EXPECT_LE(of_kind["cpu"], 3);
  }

  const Scenario& scenario_;
  std::string machine_;
  hypervisor::DeviceSet devices_;
  std::size_t boot_count_ = 0;
  std::map<std::tuple<std::string, std::string, std::string>, int> seen_;
  std::map<std::pair<std::string, std::string>, int> timings_;
  int total_ = 0;
};

void fold(HotplugFold& held, const Scenario& scenario, std::int64_t iterations) {
  Planner planner(scenario);
  for (std::int64_t i = 0; i < iterations; ++i) {
    const record::Plan plan = planner.plan(i);
    if (planner.lineage_begin(i) == i) held.begin(plan.machine);
    SCOPED_TRACE("iteration " + std::to_string(i));
    held.take(plan);
    if (i % 41 != 0) continue;
    // The planner's own set, asked of one that has planned nothing before.
    Planner other(scenario);
    const bool last = i + 1 == iterations || other.lineage_begin(i + 1) == i + 1;
    if (last) continue;
    const hypervisor::DeviceSet before = other.devices_before(i + 1);
    ASSERT_EQ(before.size(), held.devices().size());
    for (std::size_t d = 0; d < before.size(); ++d) {
      EXPECT_EQ(before[d].id, held.devices()[d].id);
      EXPECT_EQ(before[d].address, held.devices()[d].address);
    }
  }
}

TEST(Planner, HotplugPingPongKeepsToItsConstraints) {
  const Scenario scenario = shipped("hotplug-pingpong");
  ASSERT_EQ(scenario.iterations, 1000);
  const std::int64_t count = kSanitized ? 250 : 1000;
  HotplugFold held(scenario);
  fold(held, scenario, count);
  EXPECT_GE(held.total(), 3 * count);
  for (const std::string machine : {"pc", "q35"}) {
    ASSERT_EQ(scenario.hotplug.kinds.size(), 9U);
    for (const auto& [kind, weight] : scenario.hotplug.kinds) {
      EXPECT_GT(held.seen(machine, kind, "plug"), 0) << kind << " on " << machine;
      if (kind != "cpu") {
        EXPECT_GT(held.seen(machine, kind, "unplug"), count / 100) << kind << " on " << machine;
      }
    }
    EXPECT_EQ(held.seen(machine, "cpu", "unplug"), 0) << "kept";
    for (const char* timing : {"settled", "at-once", "refused"}) {
      EXPECT_GT(held.timing(machine, timing), count / 10) << timing << " on " << machine;
    }
  }
}

TEST(Planner, CpusComeAndGoInARow) {
  const Scenario scenario = shipped("hotplug-pingpong", {"hotplug.keep=[]", "hotplug.kinds.cpu=20"});
  HotplugFold held(scenario);
  const int count = kSanitized ? 120 : 400;
  fold(held, scenario, count);
  EXPECT_GT(held.seen("pc", "cpu", "unplug"), count / 40);
  EXPECT_GT(held.seen("q35", "cpu", "unplug"), count / 40);
}

}  // namespace
}  // namespace migsoak::plan
