// The parts that need no QEMU.
#include <gmock/gmock.h>

#include "compat/config_access.h"
#include "compat/layout.h"
#include "compat/verdict.h"
#include "compat/vmstate.h"
#include "pci/config_image.h"

namespace migsoak::compat {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(CatalogTest, DevicesAsTheUserWritesThem) {
  const auto device = parse_device("virtio-blk-pci,discard=off,write-zeroes=off");
  ASSERT_TRUE(device);
  EXPECT_EQ(device->driver, "virtio-blk-pci");
  EXPECT_EQ(device->properties_from, "discard=off,write-zeroes=off");
  EXPECT_EQ(device->properties_to, device->properties_from);
  for (const char* bad : {"", ",a=b", "e1000,", "e1000,mac", "e1000,addr=5", "e1000,bus=pci.0", "drive=x"}) {
    const auto refused = parse_device(bad);
    ASSERT_FALSE(refused) << bad;
    EXPECT_EQ(refused.error().kind, base::ErrorKind::bad_input);
  }
  EXPECT_FALSE(parse_device_pair("e1000", "e1000e"));
}

TEST(CatalogTest, BackendsLeaveAloneWhatTheUserNames) {
  EXPECT_THAT(backends_for("virtio-blk-pci", "", 3, "").frontend, ElementsAre(Pair("drive", "n3")));
  EXPECT_THAT(backends_for("virtio-blk-pci", "drive=mine", 3, "").frontend, IsEmpty());
  EXPECT_THAT(backends_for("qemu-xhci", "", 0, "").backends, IsEmpty());
  EXPECT_THAT(unfit_reason("vhost-user-scsi-pci"), HasSubstr("vhost"));
  // A line of its own goes before a prefix.
  EXPECT_EQ(unfit_reason("vhost-user-blk-pci"), "");
  EXPECT_TRUE(needs_vhost_export("vhost-user-blk-pci"));
  EXPECT_EQ(unfit_reason("virtio-blk-pci"), "");
}

TEST(LayoutTest, AnErrorNamesItsDevice) {
  std::vector<DevicePair> devices(12, DevicePair{"e1000", "", "", false});
  const auto root = Layout::make("pc", Placement::root, devices);
  ASSERT_TRUE(root);
  EXPECT_EQ(root->devices()[1].path, "0000:00:03.0");
  EXPECT_EQ(root->device_in_load_error({"error while loading state for instance 0x0 of device '0000:00:03.0/e1000'"}),
            1u);
  EXPECT_EQ(root->device_in_load_error({"load of migration failed"}), Layout::kNone);
  // d1 is not d11.
  EXPECT_EQ(root->device_in_start_error({"qemu: -device e1000,id=d11,addr=0xd: no"}), 11u);
  EXPECT_EQ(root->device_in_start_error({"qemu: -device e1000,id=d1,addr=0x3: no"}), 1u);
  const auto ports = Layout::make("q35", Placement::root_port, devices);
  ASSERT_TRUE(ports);
  EXPECT_EQ(ports->devices()[9].path, "0000:00:02.1:00.0");
  EXPECT_EQ(ports->device_in_load_error({"of device '0000:00:02.1:00.0/e1000'"}), 9u);
  // The port itself is nobody's.
  EXPECT_EQ(ports->device_in_load_error({"of device '0000:00:02.1/pcie-root-port'"}), Layout::kNone);
}

// To the letter: QEMU's error lines repeat the words of -device.
TEST(LayoutTest, HardwareIsThatOfTheSide) {
  const std::vector<DevicePair> devices{{"virtio-blk-pci", "discard=off,serial=x=y", "", true},
                                        {"pci-serial-2x", "", "", true},
                                        {"nvme-ns", "", "", true}};
  const auto layout = Layout::make("pc", Placement::root, devices);
  ASSERT_TRUE(layout);
  EXPECT_EQ(layout->machine(), "pc");
  const auto from = layout->hardware(Side::from, {});
  ASSERT_TRUE(from) << from.error().describe();
  EXPECT_THAT(*from,
              ElementsAre("-m", "16M,slots=4,maxmem=4G", "-blockdev", "driver=null-co,read-zeroes=on,node-name=n0",
                          "-device", "virtio-blk-pci,id=d0,bus=pci.0,addr=0x2,drive=n0,discard=off,serial=x=y",
                          "-chardev", "null,id=n1", "-chardev", "null,id=n1b", "-device",
                          "pci-serial-2x,id=d1,bus=pci.0,addr=0x3,chardev1=n1,chardev2=n1b", "-blockdev",
                          "driver=null-co,read-zeroes=on,node-name=n2", "-device",
                          "nvme,id=c2,bus=pci.0,addr=0x4,serial=compat", "-device", "nvme-ns,id=d2,bus=c2,drive=n2"));
  const auto to = layout->hardware(Side::to, {});
  ASSERT_TRUE(to);
  EXPECT_THAT(*to, Contains("virtio-blk-pci,id=d0,bus=pci.0,addr=0x2,drive=n0"));
}

TEST(LayoutTest, HardwareBehindAPortMeetsItsBackend) {
  const auto layout = Layout::make("q35", Placement::root_port, {{"vhost-user-blk-pci", "", "num-queues=2", true}});
  ASSERT_TRUE(layout);
  EXPECT_EQ(layout->machine(), "q35,memory-backend=ram");
  const auto to = layout->hardware(Side::to, {{"d0", "/run/a,b"}});
  ASSERT_TRUE(to) << to.error().describe();
  EXPECT_THAT(*to,
              ElementsAre("-m", "16M,slots=4,maxmem=4G", "-object", "memory-backend-memfd,id=ram,size=16M,share=on",
                          "-device", "pcie-root-port,id=port0,addr=0x1.0x0,chassis=100,slot=100,multifunction=on",
                          "-chardev", "socket,id=n0,path=/run/a,,b", "-device",
                          "vhost-user-blk-pci,id=d0,bus=port0,addr=0x0,chardev=n0,num-queues=2"));
}

TEST(LayoutTest, HardwareBehindABridge) {
  for (const auto& [machine, bridge] :
       {std::pair{"pc", "pci-bridge,id=bridge,addr=0x2,chassis_nr=1"}, {"q35", "pcie-pci-bridge,id=bridge,addr=0x1"}}) {
    const auto layout = Layout::make(machine, Placement::bridge, {{"e1000", "", "", true}});
    ASSERT_TRUE(layout);
    const auto words = layout->hardware(Side::from, {});
    ASSERT_TRUE(words);
    EXPECT_THAT(*words, Contains(bridge));
    EXPECT_THAT(*words, Contains("e1000,id=d0,bus=bridge,addr=0x1,netdev=n0"));
  }
}

TEST(LayoutTest, PlacementsThatDoNotGoWithTheMachine) {
  EXPECT_FALSE(Layout::make("pc", Placement::root_port, {}));
  EXPECT_FALSE(Layout::make("microvm", Placement::root, {}));
  EXPECT_FALSE(parse_placement("roof"));
}

DeviceFacts plain_facts() {
  DeviceFacts facts;
  facts.device.driver = "e1000";
  facts.looked_at = true;
  pci::ConfigImage image(pci::kConventionalBytes), mask(pci::kConventionalBytes);
  image.set_u32(0, 0x100e8086);
  mask.set_u32(0x10, 0xfffe0000);
  facts.view = {image, image, mask, mask};
  for (const GuestState state : {GuestState::untouched, GuestState::all_ones, GuestState::bars_even}) {
    StateFacts one;
    one.state = state;
    one.outcome = LoadOutcome::loaded;
    facts.states.push_back(one);
  }
  return facts;
}

TEST(VerdictTest, NothingDiffers) {
  EXPECT_EQ(judge(plain_facts()).verdict, Compatibility::same);
}

// Link status and the like: differs, is not checked, is taken over.
TEST(VerdictTest, AMaskThatDiffersAndLoadsIsCompatible) {
  DeviceFacts facts = plain_facts();
  facts.view.mask_to.set_u8(0x52, 0x20);
  facts.view.image_to.set_u8(0x53, 0x20);
  const DeviceReport report = judge(facts);
  EXPECT_EQ(report.verdict, Compatibility::compatible);
  ASSERT_EQ(report.bytes.size(), 2u);
  EXPECT_FALSE(report.bytes[0].breaks);
  EXPECT_THAT(report.bytes[0].why, HasSubstr("bit 5 writable on the destination only"));
}

TEST(VerdictTest, ABarOfAnotherSizeThatLoadsIsIncompatible) {
  DeviceFacts facts = plain_facts();
  facts.view.mask_to.set_u32(0x10, 0xfffc0000);
  const DeviceReport report = judge(facts);
  EXPECT_EQ(report.verdict, Compatibility::incompatible);
  ASSERT_NE(report.bytes.size(), 0u);
  EXPECT_EQ(report.bytes[0].field, "BAR0");
  EXPECT_THAT(report.bytes[0].why, HasSubstr("source 0x20000 bytes, destination 0x40000"));
}

TEST(VerdictTest, AByteThatIsNotWhatItWasIsIncompatibleUnlessExcused) {
  DeviceFacts facts = plain_facts();
  facts.states[1].changed.push_back({0x44, 0x0f, 0x0d, 0, ""});
  EXPECT_EQ(judge(facts).verdict, Compatibility::incompatible);
  facts.states[1].changed[0].excused = 0x02;
  facts.states[1].changed[0].reason = "because";
  const DeviceReport excused = judge(facts);
  EXPECT_EQ(excused.verdict, Compatibility::same);
  EXPECT_EQ(excused.excused_bytes, 1u);
  EXPECT_THAT(excused.excuses, ElementsAre("because"));
}

TEST(VerdictTest, WhatTheBuildDoesNotCarryToItselfIsNotBlamedOnThePair) {
  DeviceFacts facts = plain_facts();
  facts.states[1].changed.push_back({0x44, 0x0f, 0x0d, 0, ""});
  EXPECT_TRUE(wants_control(facts));
  const DeviceFacts control = facts;
  const DeviceReport report = judge(facts, &control);
  EXPECT_EQ(report.verdict, Compatibility::unknown);
  EXPECT_THAT(report.reason, HasSubstr("not the pair"));
  // Something else on top of it is the pair's.
  facts.states[1].changed.push_back({0x45, 1, 0, 0, ""});
  EXPECT_EQ(judge(facts, &control).verdict, Compatibility::incompatible);
}

TEST(VerdictTest, AStateThatWasNotTriedIsUnknown) {
  DeviceFacts facts = plain_facts();
  facts.states[2].outcome = LoadOutcome::unknown;
  facts.states[2].lines = {"no time left"};
  EXPECT_EQ(judge(facts).verdict, Compatibility::unknown);
  EXPECT_EQ(judge(DeviceFacts{}).verdict, Compatibility::unknown);
}

// A function with a PCIe capability at 0x40, virtio's PCI cfg access capability at 0x80, SR-IOV at 0x100.
pci::ConfigImage image_with_hazards() {
  pci::ConfigImage image(pci::kExtendedBytes);
  image.set_u32(0x00, 0x10411af4);
  image.set_u16(0x06, 0x0010);
  image.set_u8(0x34, 0x40);
  image.set_u32(0x40, 0x00028010);
  image.set_u32(0x80, 0x05140009);
  image.set_u32(0x100, 0x00010010);
  return image;
}

std::uint32_t allowed_at(const std::vector<WritableDword>& dwords, std::size_t offset) {
  for (const WritableDword& dword : dwords) {
    if (dword.offset == offset) return dword.allowed;
  }
  ADD_FAILURE() << "no dword at " << offset;
  return 0;
}

TEST(HazardsTest, CommandsAreNotWritten) {
  const auto dwords = writable_dwords(image_with_hazards());
  EXPECT_EQ(allowed_at(dwords, 0x48), 0xffff7fffu);  // device control: function level reset
  EXPECT_EQ(allowed_at(dwords, 0x58), 0xfffff7ffu);  // slot control: interlock
  EXPECT_EQ(allowed_at(dwords, 0x108), 0u);          // SR-IOV control
  EXPECT_EQ(allowed_at(dwords, 0x4c), 0xffffffffu);
  // The command register is the last: addresses take effect together.
  EXPECT_EQ(dwords.back().offset, 0x04u);
  // Without the capabilities nothing is left out.
  for (const WritableDword& dword : writable_dwords(pci::ConfigImage(pci::kConventionalBytes))) {
    EXPECT_EQ(dword.allowed, 0xffffffffu);
  }
}

TEST(HazardsTest, VolatileBitsComeWithTheirReason) {
  std::string reason;
  EXPECT_EQ(volatile_bits(image_with_hazards(), 0x90, &reason), 0xffffffffu);
  EXPECT_THAT(reason, HasSubstr("window"));
  EXPECT_EQ(volatile_bits(image_with_hazards(), 0x50, &reason), 0xffff0000u);
  EXPECT_THAT(reason, HasSubstr("link status"));
  EXPECT_EQ(volatile_bits(image_with_hazards(), 0x8c, nullptr), 0u);
  EXPECT_EQ(volatile_bits(pci::ConfigImage(pci::kConventionalBytes), 0x90, nullptr), 0u);
}

TEST(VmstateTest, FieldsVersionsSizesAndSubsections) {
  const auto dump = [](int version, int size, const std::string& more) {
    return base::Json{
        {"e1000",
         {{"Name", "e1000"},
          {"Description",
           {{"name", "e1000"},
            {"version_id", version},
            {"Fields", {{{"field", "a"}, {"version_id", 0}, {"size", size}}, {{"field", more}, {"size", 4}}}}}}}}};
  };
  EXPECT_TRUE(compare_vmstate(dump(1, 4, "b"), dump(1, 4, "b"), "e1000").empty());
  const auto lines = compare_vmstate(dump(1, 4, "b"), dump(2, 8, "c"), "e1000");
  EXPECT_THAT(lines, Contains(HasSubstr("version_id 1 on the source, 2 on the destination")));
  EXPECT_THAT(lines, Contains(HasSubstr("e1000/a: size 4 on the source, 8 on the destination")));
  EXPECT_THAT(lines, Contains(HasSubstr("field 'b' on the source only")));
  EXPECT_THAT(lines, Contains(HasSubstr("field 'c' on the destination only")));
  EXPECT_THAT(vmstate_types("virtio-blk-pci-non-transitional"), Contains("virtio-blk-device"));
}

}  // namespace
}  // namespace migsoak::compat
