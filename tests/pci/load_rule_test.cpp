#include "pci/load_rule.h"

#include <gmock/gmock.h>

#include "pci/real_images.h"

namespace migsoak::pci {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kIncident =
    "qemu-system-x86_64: get_pci_config_device: Bad config data: i=0x10 read: c1 device: 1 cmask: ff wmask: 80 "
    "w1cmask:0";

TEST(LoadRule, TheRuleItself) {
  EXPECT_EQ(refused_bits(0xc1, 0x01, 0xff, 0x80, 0), 0x40);
  EXPECT_EQ(refused_bits(0x81, 0x01, 0xff, 0x80, 0), 0);     // an even multiple passes
  EXPECT_EQ(refused_bits(0xc1, 0x01, 0xbf, 0x80, 0), 0);     // not checked
  EXPECT_EQ(refused_bits(0xc1, 0x01, 0xff, 0x80, 0x40), 0);  // write one to clear
}

TEST(LoadRule, DifferencesOfTwoImages) {
  const ConfigImage source = image_of(kBlkOnPc, kConventionalBytes);
  ConfigImage destination = source;
  destination.set_u32(0x10, 0x1);
  destination.set_u8(0x9a, 3);
  EXPECT_TRUE(differences(source, source, {}).empty());
  LoadMasks masks;
  masks.writable = ConfigImage(kConventionalBytes);
  masks.writable.set_u32(0x10, 0xffffff80);
  const auto found = differences(source, destination, masks);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].field.name, "BAR0");
  EXPECT_EQ(found[0].offset, 0x11u);  // 0xc000: the second byte
  EXPECT_EQ(found[0].refused, 0);
  EXPECT_EQ(found[1].field.name, "MSI-X table size");
  EXPECT_EQ(found[1].refused, 0x02);
  masks.checked = ConfigImage(kConventionalBytes);
  EXPECT_EQ(differences(source, destination, masks)[1].refused, 0);
}

TEST(ErrorLine, OfTheIncident) {
  const auto data = parse_bad_config_data(kIncident);
  ASSERT_TRUE(data);
  EXPECT_EQ(*data, (BadConfigData{0x10, 0xc1, 0x01, 0xff, 0x80, 0}));
  EXPECT_EQ(data->refused(), 0x40);
  // QEMU 11 writes a space before the last number and wraps the line in its error description.
  EXPECT_TRUE(parse_bad_config_data("Bad config data: i=0x6e read: 0 device: 40 cmask: ff wmask: 0 w1cmask: 19"));
}

TEST(ErrorLine, WhatIsNotOne) {
  for (const char* line : {"", "Bad config data:", "Bad config data: i=0x10 read: c1 device: 1 cmask: ff wmask: 80",
                           "Bad config data: i=0xfffffffffffffffffff read: c1 device: 1 cmask: ff wmask: 80 w1cmask:0",
                           "Bad config data: i=0x1000 read: c1 device: 1 cmask: ff wmask: 80 w1cmask:0",
                           "Bad config data: i=0x10 read: 1c1 device: 1 cmask: ff wmask: 80 w1cmask:0",
                           "Bad config data: i=0x10 read: zz device: 1 cmask: ff wmask: 80 w1cmask:0"}) {
    EXPECT_FALSE(parse_bad_config_data(line)) << line;
  }
  EXPECT_FALSE(parse_unsupported_features("Features 0x unsupported. Allowed features: 0x1"));
  EXPECT_FALSE(parse_ring_too_large("VQ x vring.num 1 exceeds allocated max 2"));
}

TEST(LoadErrors, TheFourLinesBelongTogether) {
  const auto found =
      parse_load_errors({"something else", kIncident, "qemu-system-x86_64: Failed to load PCIDevice:config",
                         "warning: in between", "qemu-system-x86_64: Failed to load virtio-blk:virtio",
                         "qemu-system-x86_64: error while loading state for instance 0x0 of device "
                         "'0000:00:0b.0/virtio-blk'",
                         "qemu-system-x86_64: load of migration failed: Invalid argument"});
  ASSERT_EQ(found.size(), 1u);
  ASSERT_TRUE(found[0].config);
  EXPECT_THAT(found[0].elements, ElementsAre("PCIDevice:config", "virtio-blk:virtio"));
  EXPECT_EQ(found[0].path, "0000:00:0b.0");
  EXPECT_EQ(found[0].section, "virtio-blk");
  EXPECT_EQ(found[0].lines.size(), 4u);
}

TEST(LoadErrors, OneDescriptionHoldsItAll) {
  // QEMU 11's error-desc.
  const auto found = parse_load_errors(
      {"Failed to load element of type pci config for config: -22: error while loading state for instance 0x0 of "
       "device "
       "'0000:00:02.0:00.0/virtio-blk': get_pci_config_device: Bad config data: i=0x10 read: 41 device: 1 cmask: ff "
       "wmask: 80 w1cmask:0"});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].config->read, 0x41);
  EXPECT_EQ(found[0].path, "0000:00:02.0:00.0");
}

TEST(LoadErrors, RingAndFeatures) {
  const auto found =
      parse_load_errors({"VQ 0 vring.num 1024 exceeds allocated max 256", "Failed to load virtio-blk:virtio",
                         "error while loading state for instance 0x0 of device '0000:00:04.0/virtio-blk'",
                         "Features 0x130006e44 unsupported. Allowed features: 0x120006e44",
                         "error while loading state for instance 0x0 of device '0000:00:05.0/vhost-user-blk'"});
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(explain(*found[0].ring),
            "virtqueue 0: the guest set it up with 1024 entries, the destination allows 256 (property queue-size)");
  EXPECT_EQ(found[1].path, "0000:00:05.0");
  EXPECT_THAT(explain(*found[1].features, "blk"), HasSubstr("VIRTIO_F_INDIRECT_DESC"));
  EXPECT_TRUE(parse_load_errors({"Failed to load virtio-blk:virtio"}).empty());
}

TEST(Explain, InTheWordsOfTheIncident) {
  ConfigImage source = image_of(kBlkOnPc, kConventionalBytes);
  source.set_u32(0x10, 0x1041);
  ConfigImage destination = source;
  destination.set_u32(0x10, 0x1);
  const BadConfigData error{0x10, 0x41, 0x01, 0xff, 0x80, 0};
  EXPECT_EQ(explain(error, {&source, 0x40}, {&destination, 0x80}),
            "BAR0 I/O: source 0x40 bytes at 0x1040, destination 0x80 bytes: bit 6 is not writable there");
  // From the line alone, the destination's size is the lowest writable bit.
  EXPECT_EQ(explain(error), "BAR0 I/O: source (byte 0x41), destination 0x80 bytes: bit 6 is not writable there");
}

TEST(Explain, OtherFieldsByName) {
  const ConfigImage port = image_of(kRootPort, kExtendedBytes);
  EXPECT_EQ(explain({0x6e, 0x00, 0x40, 0xff, 0, 0x19}, {&port, 0}, {&port, 0}),
            "PCIe slot status (byte 0x6e): source 0x00, destination 0x40: bit 6 is not writable there");
  EXPECT_EQ(explain({0x10b, 0x01, 0x40, 0xff, 0x40, 0}, {&port, 0}, {&port, 0}),
            "AER uncorrectable error mask (byte 0x10b): source 0x01, destination 0x40: bit 24 is not writable there");
  EXPECT_EQ(explain({0x02, 0x42, 0x01, 0xff, 0, 0}),
            "device id (byte 0x02): source 0x42, destination 0x01: bits 0, 1, 6 are not writable there");
}

}  // namespace
}  // namespace migsoak::pci
