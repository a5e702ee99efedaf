// Bugs that live between two builds: of the fleet (`migsoak fleet add debian:...`), or the system's. Where there is no
// build of a version they are skipped.
#include <gmock/gmock.h>

#include "compat/compat_fixture.h"
#include "fleet/build_of.h"

namespace migsoak::compat {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

class BetweenBuilds : public CompatFixture {
 protected:
  // By their versions. Both must be here.
  DeviceReport between(const std::string& from, const std::string& to, const DevicePair& device,
                       const std::string& machine = "pc", Placement placement = Placement::root) {
    SurveyRequest wanted = request({device}, machine);
    wanted.builds.placement = placement;
    wanted.builds.from = fleet::build_of(from, build_).value();
    wanted.builds.to = fleet::build_of(to, build_).value();
    wanted.builds.machine = fleet::choose_machine({wanted.builds.from, wanted.builds.to}, machine).value();
    const auto report = run(wanted);
    EXPECT_TRUE(report) << report.error().describe();
    return report ? report->devices.at(0) : DeviceReport{};
  }
};

#define NEEDS_BUILDS(...)                                                   \
  const std::string no_build = fleet::missing_build({__VA_ARGS__}, build_); \
  if (!no_build.empty()) GTEST_SKIP() << no_build

// Case 4: queues of 1024 entries behind a queue-size of 256, in trixie's build and not in every 10.0. A load refuses
// them on 11.1 and carries them on 7.2.
TEST_F(BetweenBuilds, VirtqueuesOfTheWrongSizeLeaveNoWayTo11) {
  NEEDS_BUILDS("7.2", "10.0.13", "11.1");
  const DeviceReport report = between("10.0.13", "11.1", pair_of("virtio-blk-pci", "", ""));
  EXPECT_EQ(report.verdict, Compatibility::incompatible);
  EXPECT_THAT(report.reason, HasSubstr("1024"));
  const auto vring = std::find_if(report.bytes.begin(), report.bytes.end(),
                                  [](const ByteReport& byte) { return byte.field == "vring-num"; });
  ASSERT_NE(vring, report.bytes.end());
  EXPECT_TRUE(vring->breaks);
  EXPECT_EQ(vring->from, 1024u);
  EXPECT_EQ(vring->to, 256u);
  EXPECT_THAT(vring->why, HasSubstr("the source's own queue-size property says 256"));
  const DeviceReport carried = between("10.0.13", "7.2", pair_of("virtio-blk-pci", "", ""));
  EXPECT_EQ(carried.verdict, Compatibility::compatible) << carried.reason;
}

// e1000e's link status differs in value and is not checked: no reason to call it incompatible.
TEST_F(BetweenBuilds, WhatDiffersAndLoadsIsCompatible) {
  NEEDS_BUILDS("5.2", "11.1");
  const DeviceReport report = between("5.2", "11.1", pair_of("e1000e", "", ""));
  EXPECT_EQ(report.verdict, Compatibility::compatible) << report.reason;
  EXPECT_THAT(report.bytes, Contains(::testing::Field(&ByteReport::field, "PCIe link status")));
}

// The uncorrectable error mask of AER, 8.0 to 7.2.
TEST_F(BetweenBuilds, AerUncorrectableErrorMask) {
  NEEDS_BUILDS("7.2", "11.1");
  const DeviceReport report =
      between("11.1", "7.2", pair_of("e1000e", "x-pcie-err-unc-mask=on", ""), "q35", Placement::root_port);
  EXPECT_EQ(report.verdict, Compatibility::incompatible);
  EXPECT_THAT(report.states.front().lines, Contains(HasSubstr("i=0x10a read: 40 device: 0")));
  const ByteReport* byte = byte_at(report, 0x10a);
  ASSERT_NE(byte, nullptr);
  EXPECT_EQ(byte->field, "AER uncorrectable error mask");
}

// Booted on 7.2 a vhost-user-blk guest is refused by 11.1; booted on 11.1 it may go both ways.
TEST_F(BetweenBuilds, VhostUserBlkFeaturesHaveADirection) {
  NEEDS_BUILDS("7.2", "11.1");
  const DeviceReport there = between("7.2", "11.1", pair_of("vhost-user-blk-pci", "", ""));
  EXPECT_EQ(there.verdict, Compatibility::incompatible);
  EXPECT_THAT(there.reason, HasSubstr("VIRTIO_BLK_F_SIZE_MAX"));
  EXPECT_THAT(state_of(there, GuestState::modern_driver)->lines, Contains(HasSubstr("unsupported. Allowed features")));
  const DeviceReport back = between("11.1", "7.2", pair_of("vhost-user-blk-pci", "", ""));
  EXPECT_EQ(back.verdict, Compatibility::same) << back.reason;
}

}  // namespace
}  // namespace migsoak::compat
