// [hotplug] that can't be done is bad input: told at the start, with file, key and what stands in the way.
#include <gtest/gtest.h>

#include "scenario_text.h"

namespace migsoak::plan {
namespace {

using namespace testing;

std::string step(const std::string& lines) {
  return "[[hotplug.step]]\n" + lines;
}
std::string on_pc(const std::string& more) {
  return hotplug_text("\"pc\"", more);
}
std::string on_q35(const std::string& more) {
  return hotplug_text("\"q35\"", more);
}

TEST(ScenarioHotplug, UnknownNames) {
  expect_refused(on_pc("[hotplug]\noperations = 1\n[hotplug.kinds]\nvirtio-blkk = 1\n"),
                 {"s.toml:14", "hotplug.kinds", "did you mean 'virtio-blk'"});
  expect_refused(on_pc("[hotplug]\noperations = 1\n[hotplug.kinds]\nvirtio-blk = 1\n[hotplug.timings]\nsetled = 1\n"),
                 {"hotplug.timings", "did you mean 'settled'"});
  expect_refused(on_pc("[hotplug]\nkeep = [\"cpus\"]\n"), {"s.toml:13", "hotplug.keep", "'cpus'"});
  expect_refused(on_pc(step("kind = \"usb-disk\"\n")), {"s.toml:13", "hotplug.step.kind", "'usb-disk'"});
  expect_refused(on_pc("[hotplug.props.virtio-blc]\nserial = \"x\"\n"),
                 {"s.toml:", "hotplug.props", "'virtio-blc'", "did you mean 'virtio-blk'"});
  expect_refused(on_pc("[hotplug.on.b.virtio-nett]\nmac = \"x\"\n"), {"hotplug.on", "did you mean 'virtio-net'"});
  expect_refused(on_pc("[hotplug.on.c.virtio-net]\nmac = \"x\"\n"), {"hotplug.on", "no [[side]] named 'c'"});
  // Controllers and root ports are no kinds, and have properties all the same.
  parsed(
      on_q35("[hotplug]\noperations = 1\n[hotplug.kinds]\nvirtio-blk = 1\n[hotplug.props.root-port]\nhotplug = "
             "true\n"));
}

TEST(ScenarioHotplug, AddressesThatAreTakenOrNone) {
  const std::string blk = "kind = \"virtio-blk\"\n";
  expect_refused(on_pc(step(blk + "address = \"0x4\"\n")),
                 {"s.toml:12", "hotplug.step", "on pc", "address 0x4 is taken by vd0"});
  expect_refused(on_pc(step(blk + "address = \"9\"\n") + step(blk + "iteration = 1\naddress = \"0x9\"\n")),
                 {"s.toml:15", "iteration 1", "address 0x9 is taken by vb0"});
  for (const char* address : {"0x1f", "0x3", "99", "nowhere", "-1", "0x", "rp1", "0xfffffffff"}) {
    expect_refused(on_pc(step(blk + "address = \"" + address + "\"\n")),
                   {"s.toml:12", "has no address " + std::string(address), "0x4 to 0x1e"});
  }
  expect_refused(on_q35(step(blk + "address = \"0x5\"\n")), {"on q35", "has no address 0x5", "rp0 to rp7"});
  expect_refused(on_q35(step(blk + "address = \"rp8\"\n")), {"has no address rp8", "rp0 to rp7"});
  expect_refused(on_q35(step(blk + "address = \"rp2\"\n") + step("kind = \"virtio-rng\"\naddress = \"rp2\"\n")),
                 {"s.toml:15", "address rp2 is taken by vb0"});
  expect_refused(on_pc(step("kind = \"cpu\"\naddress = \"4\"\n")), {"has no address 4", "0x1 to 0x3"});
  expect_refused(on_pc(step("kind = \"scsi-disk\"\naddress = \"6\"\n")), {"has no address 6", "0x0 to 0x5"});
  // One address can't be right on both.
  expect_refused(hotplug_text("[\"pc\", \"q35\"]", "[run]\nlineage = 5\n" + step(blk + "address = \"0x9\"\n")),
                 {"on q35", "has no address 0x9"});
}

TEST(ScenarioHotplug, NoRoom) {
  const std::string kinds = "[hotplug.kinds]\nvirtio-net = 1\n";
  std::string cold;
  for (int i = 1; i < 20; ++i) cold += "[[device]]\nid = \"c" + std::to_string(i) + "\"\ntype = \"virtio-rng\"\n";
  expect_refused(on_q35(cold + "[hotplug]\noperations = 1\nports = 8\n" + kinds),
                 {"s.toml:", "hotplug.ports", "more than 27 devices", "q35", "20 of [[device]]", "8 root ports"});
  parsed(on_q35(cold + "[hotplug]\noperations = 1\nports = 7\n" + kinds));
  parsed(on_pc(cold + "[hotplug]\noperations = 1\nports = 8\n" + kinds));
  expect_refused(on_q35("[hotplug]\nports = 21\n"), {"s.toml:13", "hotplug.ports", "out of range"});
  // A sweep that can't be finished.
  expect_refused(on_pc("[hotplug]\nsweep = 9\n" + kinds), {"hotplug.sweep", "of 9 devices 8", "plugged_max is 8"});
  expect_refused(on_q35("[hotplug]\nsweep = 9\nplugged_max = 9\n" + kinds), {"hotplug.sweep", "hotplug.ports is 8"});
  parsed(on_q35("[hotplug]\nsweep = 9\nplugged_max = 9\nports = 9\n" + kinds));
  expect_refused(on_pc(cold + "[hotplug]\nsweep = 8\n" + kinds), {"hotplug.sweep", "of 8 devices 7", "bus is full"});
  // And steps.
  std::string steps;
  for (int i = 0; i < 3; ++i) steps += step("kind = \"virtio-rng\"\niteration = " + std::to_string(i) + "\n");
  expect_refused(on_q35("[hotplug]\nports = 2\n" + steps), {"s.toml:", "iteration 2", "none of the 2 root ports"});
  std::string dimms;
  for (int i = 0; i < 5; ++i) dimms += step("kind = \"memory\"\n");
  expect_refused(on_pc(dimms), {"hotplug.step", "all memory it may have"});
}

TEST(ScenarioHotplug, DevicesThatAreNotThereOrThereAlready) {
  const std::string plug = step("kind = \"virtio-blk\"\ndevice = \"mine\"\n");
  expect_refused(on_pc(step("action = \"unplug\"\nkind = \"virtio-blk\"\ndevice = \"vb7\"\n")),
                 {"s.toml:12", "unplug of a virtio-blk", "no vb7"});
  expect_refused(on_pc(step("action = \"unplug\"\nkind = \"virtio-blk\"\n")), {"no virtio-blk"});
  expect_refused(on_pc(plug + step("iteration = 1\nkind = \"virtio-blk\"\ndevice = \"mine\"\n")), {"has mine already"});
  expect_refused(on_pc(plug + step("kind = \"virtio-blk\"\naction = \"unplug\"\ndevice = \"mine\"\n")),
                 {"mine is plugged or unplugged in that iteration already"});
  expect_refused(on_pc(plug + step("iteration = 1\nkind = \"virtio-net\"\naction = \"unplug\"\ndevice = \"mine\"\n")),
                 {"mine is a virtio-blk, no virtio-net"});
  // A plug that QEMU has to refuse brings nothing.
  expect_refused(on_pc(step("kind = \"virtio-blk\"\ndevice = \"mine\"\ntiming = \"refused\"\n") +
                       step("iteration = 1\naction = \"unplug\"\nkind = \"virtio-blk\"\ndevice = \"mine\"\n")),
                 {"s.toml:16", "no mine"});
  expect_refused(on_pc(step("kind = \"virtio-blk\"\ndevice = \"vd0\"\n")), {"'vd0'"});
  expect_refused(on_pc(step("kind = \"virtio-rng\"\ndevice = \"vd0\"\n")), {"has vd0 already"});
  expect_refused(on_pc(step("kind = \"virtio-rng\"\ndevice = \"0x\"\n")), {"s.toml:12", "'0x'", "letter"});
  expect_refused(on_pc(step("kind = \"virtio-blk\"\ndevice = \"a-name-of-more-than-20-bytes\"\n")), {"20 bytes"});
  expect_refused(on_pc("[run]\nlineage = 5\n" + step("kind = \"virtio-rng\"\niteration = 5\n")),
                 {"s.toml:14", "iteration 5 never comes", "run.lineage"});
}

TEST(ScenarioHotplug, AShippedScenarioCanBeDone) {
  for (const char* name : {"config-space-discard", "hotplug-pingpong", "version-matrix", "quickstart"}) shipped(name);
}

}  // namespace
}  // namespace migsoak::plan
