#include "pci/fields.h"

#include <gmock/gmock.h>

#include <map>
#include <random>

#include "pci/real_images.h"

namespace migsoak::pci {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> names(const ConfigImage& image) {
  std::vector<std::string> out;
  for (const Capability& capability : capabilities(image)) out.push_back(capability.name);
  return out;
}

TEST(ConfigImage, HexComesBackAndHostileHexIsRefused) {
  const ConfigImage image = image_of(kRootPort, kExtendedBytes);
  EXPECT_EQ(to_hex(image), kRootPort);
  EXPECT_EQ(to_hex(ConfigImage(kConventionalBytes)), "");
  EXPECT_EQ(from_hex("", kConventionalBytes)->size(), kConventionalBytes);
  EXPECT_FALSE(from_hex("f4", 64));
  EXPECT_FALSE(from_hex("f", kConventionalBytes));
  EXPECT_FALSE(from_hex("xy", kConventionalBytes));
  EXPECT_FALSE(from_hex(std::string(514, '0'), kConventionalBytes));
}

TEST(ConfigImage, AFunctionThatIsNotThereHasNothing) {
  const ConfigImage missing(std::vector<std::uint8_t>(kConventionalBytes, 0xff));
  EXPECT_FALSE(missing.present());
  EXPECT_FALSE(is_bridge(missing));
  EXPECT_TRUE(capabilities(missing).empty());
  EXPECT_TRUE(bars(missing).empty());
  EXPECT_TRUE(decode(missing).empty());
}

TEST(Bars, KindAndAddressComeFromTheRegisterSizeFromTheMask) {
  const ConfigImage image = image_of(kBlkOnPc, kConventionalBytes);
  ConfigImage writable(kConventionalBytes);
  writable.set_u32(0x10, 0xffffff80);
  writable.set_u32(0x14, 0xfffff000);
  writable.set_u32(0x20, 0xffffc000);
  writable.set_u32(0x24, 0xffffffff);
  const std::vector<Bar> found = bars(image, &writable);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].kind, BarKind::io);
  EXPECT_EQ(found[0].address, 0xc000u);
  EXPECT_EQ(found[0].size, 0x80u);
  EXPECT_EQ(found[1].kind, BarKind::mem32);
  EXPECT_EQ(found[1].size, 0x1000u);
  EXPECT_EQ(found[2].index, 4);
  EXPECT_EQ(found[2].kind, BarKind::mem64);
  EXPECT_TRUE(found[2].prefetchable);
  EXPECT_EQ(found[2].address, 0xfebf8000u);
  EXPECT_EQ(found[2].size, 0x4000u);
  // Without a mask: those whose register says anything.
  EXPECT_EQ(bars(image).size(), 3u);
  // A 64-bit BAR may be larger than 4 GiB.
  writable.set_u32(0x20, 0);
  writable.set_u32(0x24, 0xfffffffe);
  EXPECT_EQ(bar_size(image, writable, 4), 0x200000000u);
}

TEST(Capabilities, VirtioOnAConventionalBus) {
  const ConfigImage image = image_of(kBlkOnPc, kConventionalBytes);
  std::string broken = "?";
  capabilities(image, &broken);
  EXPECT_EQ(broken, "");
  EXPECT_THAT(names(image), ElementsAre("MSI-X", "virtio PCI access window", "virtio notify cfg", "virtio device cfg",
                                        "virtio ISR cfg", "virtio common cfg"));
}

TEST(Capabilities, BothListsOfARootPortAndOfAnEndpoint) {
  EXPECT_THAT(names(image_of(kRootPort, kExtendedBytes)), ElementsAre("PCIe", "MSI-X", "subsystem", "AER", "ACS"));
  EXPECT_THAT(names(image_of(kBlkBehindPort, kConventionalBytes)),
              ElementsAre("MSI-X", "virtio PCI access window", "virtio notify cfg", "virtio device cfg",
                          "virtio ISR cfg", "virtio common cfg", "PM", "PCIe"));
}

TEST(Fields, NamesOfTheBytesThatIncidentsNamed) {
  const ConfigImage pc = image_of(kBlkOnPc, kConventionalBytes);
  EXPECT_EQ(field_at(pc, 0x10).name, "BAR0");
  EXPECT_EQ(field_at(pc, 0x13).name, "BAR0");
  EXPECT_EQ(field_at(pc, 0x24).name, "BAR4, upper half");
  EXPECT_EQ(field_at(pc, 0x04).name, "command");
  EXPECT_EQ(field_at(pc, 0x2e).name, "subsystem id");
  EXPECT_EQ(field_at(pc, 0x9a).name, "MSI-X table size");
  EXPECT_EQ(field_at(pc, 0x70 + 12).name, "virtio notify cfg length");
  EXPECT_EQ(field_at(pc, 0x70 + 16).name, "virtio notify cfg multiplier");
  EXPECT_EQ(field_at(pc, 0xf0).name, "device-specific byte 0xf0");

  const ConfigImage port = image_of(kRootPort, kExtendedBytes);
  EXPECT_EQ(field_at(port, 0x19).name, "secondary bus number");
  EXPECT_EQ(field_at(port, 0x54 + 0x12).name, "PCIe link status");
  EXPECT_EQ(field_at(port, 0x6e).name, "PCIe slot status");  // RHBZ 2215819
  EXPECT_EQ(field_at(port, 0x10a).name, "AER uncorrectable error mask");
  EXPECT_EQ(field_at(port, 0x14c).name, "ACS capabilities");
}

TEST(Fields, DecodedValues) {
  std::map<std::string, std::uint64_t> values;
  for (const DecodedField& field : decode(image_of(kBlkBehindPort, kConventionalBytes))) {
    EXPECT_TRUE(values.emplace(field.field.name, field.value).second) << field.field.name << " is there twice";
  }
  EXPECT_EQ(values.at("vendor id"), 0x1af4u);
  EXPECT_EQ(values.at("device id"), 0x1042u);
  EXPECT_EQ(values.at("class code"), 0x010000u);
  EXPECT_EQ(values.at("PCIe link status"), 0x11u);
  EXPECT_EQ(values.at("virtio notify cfg multiplier"), 4u);
  EXPECT_EQ(values.at("MSI-X table size"), 1u);
}

TEST(Fields, MsiLayoutFollowsItsFlags) {
  ConfigImage image(kConventionalBytes);
  image.set_u16(0, 0x8086);
  image.set_u16(6, 0x10);
  image.set_u8(0x34, 0x50);
  image.set_u8(0x50, 0x05);
  EXPECT_EQ(field_at(image, 0x58).name, "MSI data");
  image.set_u16(0x52, 0x0180);
  EXPECT_EQ(field_at(image, 0x58).name, "MSI address, upper half");
  EXPECT_EQ(field_at(image, 0x5c).name, "MSI data");
  EXPECT_EQ(field_at(image, 0x60).name, "MSI mask bits");
  EXPECT_EQ(field_at(image, 0x64).name, "MSI pending bits");
}

TEST(Fields, WhatSoftwareMayWrite) {
  const ConfigImage image = image_of(kBlkOnPc, kConventionalBytes);
  std::vector<Bar> sizes = bars(image);
  for (Bar& bar : sizes) bar.size = bar.index == 0 ? 0x80 : 0x4000;
  const ConfigImage mask = specified_writable(image, sizes);
  EXPECT_EQ(mask.u16(0x04), 0xffff);
  EXPECT_EQ(mask.u16(0x00), 0);
  EXPECT_EQ(mask.u32(0x10), 0xffffff80u);
  EXPECT_EQ(mask.u32(0x20), 0xffffc000u);
  EXPECT_EQ(mask.u32(0x24), 0xffffffffu);
  EXPECT_EQ(mask.u32(0x18), 0u);  // no BAR there
  EXPECT_EQ(mask.u8(0x3c), 0xff);
  EXPECT_EQ(mask.u8(0x34), 0);
  EXPECT_EQ(mask.u8(0xf0), 0xff);  // device-specific, in no capability
  EXPECT_EQ(mask.u8(0x9a), 0x00);
  EXPECT_EQ(mask.u8(0x9b), 0xc0);
  EXPECT_EQ(mask.u32(0x70 + 12), 0u);           // notify length
  EXPECT_EQ(mask.u32(0x84 + 12), 0xffffffffu);  // the access window's
}

TEST(Capabilities, ListsThatLoopOrPointNowhereEnd) {
  ConfigImage image(kExtendedBytes);
  image.set_u16(0, 0x1af4);
  image.set_u16(6, 0x10);
  image.set_u8(0x34, 0x50);
  image.set_u16(0x50, 0x6001);
  image.set_u16(0x60, 0x5001);
  std::string broken;
  EXPECT_EQ(capabilities(image, &broken).size(), 2u);
  EXPECT_THAT(broken, HasSubstr("loops at 0x50"));
  image.set_u16(0x60, 0x2001);
  capabilities(image, &broken);
  EXPECT_THAT(broken, HasSubstr("into the header"));
  image.set_u16(0x60, 0x0001);
  image.set_u32(0x100, 0x10010001);  // next: 0x100
  capabilities(image, &broken);
  EXPECT_THAT(broken, HasSubstr("loops at 0x100"));
}

// A guest can't write capabilities, but a damaged database can hold any bytes.
TEST(Fields, AnyBytesAreDecodedWithoutHarm) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    std::vector<std::uint8_t> bytes(round % 2 == 0 ? kConventionalBytes : kExtendedBytes);
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
    bytes[6] |= 0x10;
    const ConfigImage image(bytes);
    std::size_t end = 0;
    for (const DecodedField& field : decode(image)) {
      EXPECT_GE(field.field.offset, end) << "fields overlap";
      end = field.field.offset + field.field.length;
      EXPECT_LE(end, image.size());
    }
    for (std::size_t offset = 0; offset < 0x120; offset += 7) EXPECT_FALSE(field_at(image, offset).name.empty());
    EXPECT_EQ(*from_hex(to_hex(image), image.size()), image);
  }
}

TEST(VirtioFeatures, ByNameAndDeviceType) {
  EXPECT_EQ(virtio_feature_name(13, "blk"), "VIRTIO_BLK_F_DISCARD");
  EXPECT_EQ(virtio_feature_name(13, "net"), "VIRTIO_NET_F_HOST_ECN");
  EXPECT_EQ(virtio_feature_name(13), "bit 13");
  EXPECT_EQ(virtio_feature_name(32), "VIRTIO_F_VERSION_1");
  EXPECT_THAT(virtio_feature_names(0x6000, "blk"), ElementsAre("VIRTIO_BLK_F_DISCARD", "VIRTIO_BLK_F_WRITE_ZEROES"));
  EXPECT_EQ(virtio_type_of("virtio-blk-pci-transitional"), "blk");
  EXPECT_EQ(virtio_type_of("vhost-user-blk-pci"), "blk");
  EXPECT_EQ(virtio_type_of("0000:00:0b.0/virtio-net"), "net");
  EXPECT_EQ(virtio_type_of("virtio-console"), "serial");
  EXPECT_EQ(virtio_type_of("e1000e"), "");
}

}  // namespace
}  // namespace migsoak::pci
