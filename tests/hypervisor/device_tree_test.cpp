// Device trees: of real QEMUs, the system's and those of the fleet that are there, and of texts that no QEMU writes.
#include <gmock/gmock.h>

#include <iostream>

#include "fleet/fleet.h"
#include "hypervisor/device_tree_reader.h"
#include "hypervisor/device_tree_text.h"
#include "real_qemu.h"

namespace migsoak::hypervisor {
namespace {

using record::DeviceTree;
using record::TreeNode;
using ::testing::Contains;
using ::testing::Key;
using ::testing::Pair;

// A disk, a SCSI disk behind its controller, and a rare thing without an id.
const std::vector<std::string> kDevices = {"-blockdev", "driver=null-co,node-name=n0,read-zeroes=on",
                                           "-blockdev", "driver=null-co,node-name=n1,read-zeroes=on",
                                           "-device",   "virtio-blk-pci,id=vd0,drive=n0,addr=0x4,vectors=7",
                                           "-device",   "virtio-scsi-pci,id=scsi0,addr=0x5",
                                           "-device",   "scsi-hd,id=sd0,drive=n1,bus=scsi0.0,serial=abc",
                                           "-device",   "isa-debug-exit,iobase=0xf4"};

class DeviceTreeTest : public RealQemu {
 protected:
  DeviceTree read(Machine& machine) {
    const auto began = base::Clock::now();
    const DeviceTreeReading reading = reader_.begin(machine.qmp(), "qemu:a", 7, "arrived");
    const auto documents = reader_.finish(reading, soon());
    EXPECT_TRUE(documents) << documents.error().describe();
    if (!documents) return {};
    std::cout << base::milliseconds_between(began, base::Clock::now()) << " ms, " << documents->size() << " parts\n";
    record::Observation observation;
    observation.documents = *documents;
    for (const record::Document& document : *documents) {
      EXPECT_EQ(document.kind, record::document_kind::kDeviceTree);
      EXPECT_EQ(document.subject, "qemu:a");
      EXPECT_EQ(document.process_id, 7);
    }
    const auto tree = record::tree_from_parts(record::tree_parts_at(observation, "arrived"));
    EXPECT_TRUE(tree) << tree.error().describe();
    return tree ? *tree : DeviceTree{};
  }
  DeviceTree tree_of(MachineSpec spec) {
    spec.extra_args = kDevices;
    auto machine = raise(std::move(spec));
    return machine ? read(*machine) : DeviceTree{};
  }

  DeviceTreeReader reader_;
};

void expect_devices(const DeviceTree& tree, const std::string& host, const std::string& root) {
  EXPECT_FALSE(tree.cut);
  const std::string bus = "main-system-bus/" + host + '/' + root;
  ASSERT_THAT(tree.nodes, Contains(Key(bus + "/vd0")));
  const TreeNode& disk = tree.nodes.at(bus + "/vd0");
  EXPECT_EQ(disk.type, "virtio-blk-pci");
  EXPECT_THAT(disk.props, Contains(Pair("vectors", "7")));
  EXPECT_THAT(disk.props, Contains(Pair("addr", "04.0")));
  EXPECT_THAT(disk.props, Contains(Key("pci id")));
  ASSERT_THAT(tree.nodes, Contains(Key(bus + "/vd0/virtio-bus/virtio-blk-device")));
  EXPECT_THAT(tree.nodes.at(bus + "/vd0/virtio-bus/virtio-blk-device").props, Contains(Pair("drive", "n0")));
  const std::string scsi = bus + "/scsi0/virtio-bus/virtio-scsi-device/scsi0.0";
  ASSERT_THAT(tree.nodes, Contains(Key(scsi + "/sd0")));
  EXPECT_TRUE(tree.nodes.at(scsi).bus);
  EXPECT_EQ(tree.nodes.at(scsi).type, "SCSI");
  EXPECT_THAT(tree.nodes.at(scsi + "/sd0").props, Contains(Pair("serial", "abc")));
  EXPECT_THAT(tree.objects, Contains(Pair("/peripheral/vd0 (virtio-blk-pci)", 1)));
  EXPECT_THAT(tree.objects, Contains(Pair("/peripheral-anon/device[isa-debug-exit] (isa-debug-exit)", 1)));
  // As many interrupt controllers as a PC has; and nothing that comes and goes.
  EXPECT_THAT(tree.objects, Contains(Pair("/unattached/device[isa-i8259] (isa-i8259)", 2)));
  for (const auto& [object, count] : tree.objects) {
    EXPECT_EQ(object.find("memory-region"), std::string::npos) << object;
    EXPECT_EQ(object.find("(irq)"), std::string::npos) << object;
  }
  for (const auto& [path, node] : tree.nodes) {
    for (const auto& [name, value] : node.props) {
      EXPECT_EQ(value.find('"'), std::string::npos) << path << ' ' << name << ' ' << value;
      EXPECT_EQ(value.find(" (0x"), std::string::npos) << path << ' ' << name << ' ' << value;
    }
  }
}

TEST_F(DeviceTreeTest, OfTheSystemsQemu) {
  MachineSpec pc = spec("q1");
  pc.machine = "pc";
  expect_devices(tree_of(pc), "i440FX-pcihost", "pci.0");
  expect_devices(tree_of(spec("q2")), "q35-pcihost", "pcie.0");
}

TEST_F(DeviceTreeTest, OfTheBuildsOfTheFleet) {
  int seen = 0;
  const auto builds = fleet::builds();
  ASSERT_TRUE(builds) << builds.error().describe();
  for (const fleet::Build& build : *builds) {
    if (build.machine("pc-q35-5.2") == nullptr) continue;
    SCOPED_TRACE(build.name);
    ++seen;
    MachineSpec of_build = spec("f" + std::to_string(seen));
    of_build.qemu = build.binary;
    of_build.qemu_args = build.args;
    of_build.env = build.env;
    of_build.version = build.version;
    of_build.machine = "pc-q35-5.2";
    expect_devices(tree_of(of_build), "q35-pcihost", "pcie.0");
  }
  if (seen == 0) GTEST_SKIP() << "no build in the fleet that knows pc-q35-5.2";
}

TEST_F(DeviceTreeTest, TwoProcessesHaveTheSameTreeAndARunningGuestKeepsIt) {
  const DeviceTree one = tree_of(spec("q1")), other = tree_of(spec("q2", true));
  EXPECT_FALSE(one.nodes.empty());
  EXPECT_EQ(record::to_parts(one), record::to_parts(other)) << "a running one, and one that waits";
}

TEST_F(DeviceTreeTest, WhatIsPluggedIsAPartMore) {
  MachineSpec spec = RealQemu::spec("q1");
  spec.machine = "pc";
  auto machine = raise(spec);
  ASSERT_TRUE(machine);
  const DeviceTree before = read(*machine);
  ASSERT_TRUE(
      machine->qmp().execute("device_add", {{"driver", "virtio-rng-pci"}, {"id", "rng0"}, {"addr", "0x6"}}, soon()));
  const DeviceTree after = read(*machine);
  EXPECT_EQ(record::to_parts(after).size(), record::to_parts(before).size() + 1);
  EXPECT_EQ(record::to_parts(after).at(0), record::to_parts(before).at(0));
  EXPECT_EQ(after.nodes.size(), before.nodes.size() + 3);  // the device, its bus, what is on it
}

TEST_F(DeviceTreeTest, AQemuThatIsGoneIsAnError) {
  auto machine = raise(spec("q1"));
  ASSERT_TRUE(machine);
  const DeviceTreeReading reading = reader_.begin(machine->qmp(), "qemu:a", 7, "arrived");
  machine->kill();
  const auto documents = reader_.finish(reading, soon());
  if (!documents) {  // else it answered in time
    EXPECT_EQ(documents.error().kind, base::ErrorKind::subject) << documents.error().describe();
  }
  const auto again = reader_.finish(reader_.begin(machine->qmp(), "qemu:a", 7, "arrived"), soon());
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().kind, base::ErrorKind::subject) << again.error().describe();
}

constexpr const char* kText = R"tree(bus: main-system-bus
  type System
  dev: host, id ""
    gpio-in "" 2
    size = 34359738368 (32 GiB)
    hole = -1 (0xffffffffffffffff)
    name = "a (b)"
    none = <null>
    empty =
    mmio 00000000fec00000/0000000000001000
    bus: pci.0
      type PCI
      dev: twin, id ""
        n = 2
      dev: twin, id ""
        n = 1
      dev: card, id ""
        addr = 1f.3
        class Ethernet controller, addr 00:1f.3, pci id 8086:10d3 (sub 8086:0000)
        bar 0: i/o at 0xffffffffffffffff [0x1e]
  dev: late, id "x/y"
    p = true
)tree";

TEST(DeviceTreeText, BecomesAStructure) {
  const DeviceTree tree =
      parse_device_tree(kText, "/machine (m)\n  /a[0] (t)\n    /b (u)\n  /a[1] (t)\n  /r[0] (irq)\n");
  EXPECT_FALSE(tree.cut);
  const TreeNode& host = tree.nodes.at("main-system-bus/host");
  const std::map<std::string, std::string> props = {{"gpio-in \"\"", "2"}, {"size", "34359738368"}, {"hole", "-1"},
                                                    {"name", "a (b)"},     {"none", "<null>"},      {"empty", ""}};
  EXPECT_EQ(host.props, props);
  EXPECT_EQ(tree.nodes.at("main-system-bus/host/pci.0").type, "PCI");
  // Made first, printed last.
  EXPECT_EQ(tree.nodes.at("main-system-bus/host/pci.0/twin").props.at("n"), "1");
  EXPECT_EQ(tree.nodes.at("main-system-bus/host/pci.0/twin#2").props.at("n"), "2");
  EXPECT_EQ(tree.nodes.at("main-system-bus/host/pci.0/@1f.3").props.at("pci id"), "8086:10d3 (sub 8086:0000)");
  EXPECT_EQ(tree.nodes.at("main-system-bus/x|y").id, "x|y");
  EXPECT_EQ(tree.nodes.size(), 7U);
  const std::map<std::string, int> objects = {{"/ (m)", 1}, {"/a[t] (t)", 2}, {"/a[t]/b (u)", 1}};
  EXPECT_EQ(tree.objects, objects);
}

TEST(DeviceTreeText, HostileTextIsBounded) {
  EXPECT_TRUE(parse_device_tree("", "").nodes.empty());
  EXPECT_TRUE(parse_device_tree("garbage\n = \n  dev:\nbus:\ntype x", "(\n/\n/x\n/x ()y\n").nodes.empty());
  std::string deep, wide, many = "dev: d, id \"\"\n", objects;
  for (std::size_t i = 0; i < 3 * kTreeDepthMax; ++i) deep += std::string(i, ' ') + "bus: b\n";
  for (std::size_t i = 0; i < 2 * kTreeNodesMax; ++i) {
    wide += "dev: d, id \"\"\n";
    objects += "  /o" + std::to_string(i) + " (t)\n";
  }
  for (std::size_t i = 0; i < 2 * kTreePropsMax; ++i) many += "  p" + std::to_string(i) + " = 1\n";
  for (const auto& [qtree, qom] : {std::pair<std::string, std::string>{deep, ""},
                                   {wide, ""},
                                   {many, ""},
                                   {"", objects},
                                   {std::string(3u << 20, 'x'), ""},
                                   {"", std::string(3u << 20, '/')}}) {
    const DeviceTree tree = parse_device_tree(qtree, qom);
    EXPECT_TRUE(tree.cut) << qtree.substr(0, 40) << qom.substr(0, 40);
    EXPECT_LE(tree.nodes.size(), kTreeNodesMax);
    EXPECT_LE(tree.objects.size(), kTreeNodesMax);
  }
  const DeviceTree odd = parse_device_tree(
      "dev: \x1b[31mred\xff, id \"" + std::string(5000, 'i') + "\"\n  v = \"" + std::string(5000, 'v') + "\"\n", "");
  ASSERT_EQ(odd.nodes.size(), 1U);
  EXPECT_LE(odd.nodes.begin()->first.size(), kTreeNameBytes);
  EXPECT_EQ(odd.nodes.begin()->second.type.find('\x1b'), std::string::npos);
  EXPECT_LE(odd.nodes.begin()->second.props.at("v").size(), kTreeValueBytes);
}

}  // namespace
}  // namespace migsoak::hypervisor
