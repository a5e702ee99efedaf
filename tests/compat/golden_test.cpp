// Known bugs, each brought about by properties on one build, and their absence where the properties are the same.
#include <gmock/gmock.h>

#include "compat/compat_fixture.h"

namespace migsoak::compat {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

class Golden : public CompatFixture {};

constexpr const char* kOldBlk = "discard=off,write-zeroes=off";

// The founding case: BAR0 of 64 bytes to BAR0 of 128.
TEST_F(Golden, VirtioBlkDiscardIsRefusedAtBar0) {
  const DeviceReport report = survey_one(pair_of("virtio-blk-pci", kOldBlk, ""));
  EXPECT_EQ(report.verdict, Compatibility::incompatible);
  const ByteReport* byte = byte_at(report, 16);
  ASSERT_NE(byte, nullptr);
  EXPECT_EQ(byte->field, "BAR0");
  EXPECT_TRUE(byte->breaks);
  EXPECT_EQ(byte->mask_from, 0xc0u);
  EXPECT_EQ(byte->mask_to, 0x80u);
  EXPECT_THAT(byte->why, HasSubstr("at even multiples of 0x40: loads"));
  EXPECT_THAT(byte->why, HasSubstr("at odd ones: refused"));
  const StateReport* ones = state_of(report, GuestState::all_ones);
  ASSERT_NE(ones, nullptr);
  EXPECT_THAT(ones->lines, Contains(HasSubstr("Bad config data: i=0x10 read: c1 device: 1 cmask: ff wmask: 80")));
  ASSERT_NE(state_of(report, GuestState::untouched), nullptr);
  EXPECT_EQ(state_of(report, GuestState::untouched)->outcome, LoadOutcome::loaded);
}

// The other way nothing is refused: whatever fits 128 bytes fits 64. The size changes silently all the same, and so
// does a driver's accepted feature that the destination does not offer.
TEST_F(Golden, VirtioBlkDiscardTheOtherWayIsSilentOrRefusedByFeatures) {
  const DeviceReport report = survey_one(pair_of("virtio-blk-pci", "", kOldBlk));
  EXPECT_EQ(report.verdict, Compatibility::incompatible);
  const StateReport* ones = state_of(report, GuestState::all_ones);
  ASSERT_NE(ones, nullptr);
  EXPECT_EQ(ones->outcome, LoadOutcome::loaded);
  const ByteReport* byte = byte_at(report, 16);
  ASSERT_NE(byte, nullptr);
  EXPECT_TRUE(byte->breaks);
  const StateReport* modern = state_of(report, GuestState::modern_driver);
  ASSERT_NE(modern, nullptr);
  EXPECT_EQ(modern->outcome, LoadOutcome::refused);
  EXPECT_THAT(modern->lines, Contains(HasSubstr("unsupported. Allowed features")));
}

TEST_F(Golden, TheSamePropertiesAreTheSame) {
  const DeviceReport report = survey_one(pair_of("virtio-blk-pci", kOldBlk, kOldBlk));
  EXPECT_EQ(report.verdict, Compatibility::same);
  EXPECT_TRUE(report.bytes.empty());
  // Every state was really tried.
  EXPECT_EQ(report.states.size(), std::size(kGuestStates));
  for (const StateReport& state : report.states) EXPECT_EQ(state.outcome, LoadOutcome::loaded);
}

// Relative of case 2: "read: e1 ... wmask: c0" of virtio-balloon's configuration size.
TEST_F(Golden, VirtioBalloonConfigurationSize) {
  const DeviceReport report = survey_one(pair_of("virtio-balloon-pci", "page-poison=off", ""));
  EXPECT_EQ(report.verdict, Compatibility::incompatible);
  const StateReport* ones = state_of(report, GuestState::all_ones);
  ASSERT_NE(ones, nullptr);
  EXPECT_THAT(ones->lines, Contains(HasSubstr("i=0x10 read: e1 device: 1 cmask: ff wmask: c0")));
}

// The ATS page-aligned bit since 5.2, beyond the first 256 bytes: q35, behind a root port.
TEST_F(Golden, AtsPageAligned) {
  const DeviceReport report =
      survey_one(pair_of("virtio-net-pci", "ats=on,x-ats-page-aligned=off", "ats=on"), "q35", Placement::root_port);
  EXPECT_EQ(report.verdict, Compatibility::incompatible);
  const ByteReport* byte = byte_at(report, 0x104);
  ASSERT_NE(byte, nullptr);
  EXPECT_TRUE(byte->breaks);
  EXPECT_THAT(report.states.front().lines, Contains(HasSubstr("i=0x104 read: 0 device: 20")));
}

// A capability that one side lacks.
TEST_F(Golden, ExtraCapability) {
  const DeviceReport report = survey_one(pair_of("virtio-rng-pci", "vectors=0", "vectors=2"));
  EXPECT_EQ(report.verdict, Compatibility::incompatible);
  const ByteReport* pointer = byte_at(report, 0x34);
  ASSERT_NE(pointer, nullptr);
  EXPECT_TRUE(pointer->breaks);
}

TEST_F(Golden, VirtqueueSize) {
  const DeviceReport report = survey_one(pair_of("virtio-blk-pci", "queue-size=256", "queue-size=128"));
  const auto vring = std::find_if(report.bytes.begin(), report.bytes.end(),
                                  [](const ByteReport& byte) { return byte.field == "vring-num"; });
  ASSERT_NE(vring, report.bytes.end());
  EXPECT_FALSE(vring->offset);
  EXPECT_EQ(vring->from, 256u);
  EXPECT_EQ(vring->to, 128u);
}

// With a storage daemon behind each side.
TEST_F(Golden, VhostUserBlk) {
  const DeviceReport same = survey_one(pair_of("vhost-user-blk-pci", "", ""));
  EXPECT_EQ(same.verdict, Compatibility::same) << same.reason;
  const DeviceReport queues = survey_one(pair_of("vhost-user-blk-pci", "config-wce=off", ""));
  EXPECT_NE(queues.verdict, Compatibility::unknown) << queues.reason;
  EXPECT_THAT(queues.bytes, Contains(::testing::Field(&ByteReport::field, "virtio features")));
}

TEST_F(Golden, ConventionalBridgeShowsItToo) {
  const DeviceReport report = survey_one(pair_of("virtio-blk-pci", kOldBlk, ""), "pc", Placement::bridge);
  EXPECT_EQ(report.verdict, Compatibility::incompatible);
  EXPECT_NE(byte_at(report, 16), nullptr);
}

// Behind a root port there is no legacy BAR0: case 2 does not live there.
TEST_F(Golden, BehindARootPortThereIsNoLegacyBar) {
  const DeviceReport report = survey_one(pair_of("virtio-blk-pci", kOldBlk, ""), "q35", Placement::root_port);
  EXPECT_EQ(report.verdict, Compatibility::compatible);
  EXPECT_EQ(byte_at(report, 16), nullptr);
}

// One survey: what breaks is told apart from its neighbours in the same VM.
TEST_F(Golden, NeighboursAreNotBlamed) {
  const auto report =
      run(request({pair_of("e1000e", "", ""), pair_of("virtio-blk-pci", kOldBlk, ""), pair_of("virtio-rng-pci", "", ""),
                   pair_of("virtio-balloon-pci", "page-poison=off", ""), pair_of("qemu-xhci", "", "")}));
  ASSERT_TRUE(report) << report.error().describe();
  ASSERT_EQ(report->devices.size(), 5u);
  const Compatibility expected[] = {Compatibility::same, Compatibility::incompatible, Compatibility::same,
                                    Compatibility::incompatible, Compatibility::same};
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(report->devices[i].verdict, expected[i]) << report->devices[i].device.driver;
  }
  EXPECT_EQ(report->worst(), Compatibility::incompatible);
}

}  // namespace
}  // namespace migsoak::compat
