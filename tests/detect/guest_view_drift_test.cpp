#include "detect/guest_view_drift.h"

#include <gmock/gmock.h>

#include "config_model.h"

namespace migsoak::detect {
namespace {

using namespace testing;
using ::testing::HasSubstr;

constexpr std::size_t kRevision = 0x08, kInterruptLine = 0x3c, kPciStatus = 0x06;

// Equal sides; in the iterations of `asked` the guest says what it sees: the source's image with `change`.
Change guest_sees(const std::vector<std::int64_t>& asked, const std::function<void(pci::ConfigImage&)>& change) {
  return [=](record::Observation& o, Soak& soak) {
    sides({Disk{}})(o, soak);
    if (std::find(asked.begin(), asked.end(), o.iteration) == asked.end()) return;
    Disk disk;
    disk.change = change;
    record::ConfigFunction function = function_of(disk, /*guest=*/true);
    function.id.clear();
    function.device.clear();
    function.bars.clear();
    record::ConfigSpace space;
    space.method = "guest";
    space.functions = {function};
    o.documents.push_back({record::document_kind::kConfigSpace, "guest", 0, "guest", record::to_json(space)});
  };
}

TEST(GuestView, SilenceWhenItIsWhatTheSourceWas) {
  const auto findings = judged(12, guest_sees({0, 5, 10}, nullptr), two_builds());
  EXPECT_TRUE(findings.empty()) << describe(findings);
}

TEST(GuestView, WhatTheGuestOwnsAndWhatFollowsTheTrafficMayDiffer) {
  const auto findings = judged(12,
                               guest_sees({0, 5, 10},
                                          [](pci::ConfigImage& image) {
                                            image.set_u8(kInterruptLine, 0x55);
                                            image.set_u8(kPciStatus, image.u8(kPciStatus) | 0x08);  // INTx pending
                                            image.set_u8(kBar0 + 1, 0x20);                          // moved
                                          }),
                               two_builds());
  EXPECT_TRUE(findings.empty()) << describe(findings);
}

TEST(GuestView, AReadOnlyByteThatTheHostDoesNotSee) {
  const auto findings = of(
      judged(12, guest_sees({0, 5, 10}, [](pci::ConfigImage& image) { image.set_u8(kRevision, 0x42); }), two_builds()),
      "config-space-drift");
  ASSERT_EQ(findings.size(), 2u) << describe(findings);  // one for each side where it was seen
  EXPECT_EQ(findings[0].kind, "guest-view");
  EXPECT_EQ(findings[0].process, "qemu:b");
  EXPECT_EQ(findings[0].detected_iteration, 0);
  EXPECT_THAT(findings[0].title, HasSubstr("vd0 (virtio-blk, 0000:00:04.0): since iteration 0 the guest sees another "
                                           "device on b: revision"));
  EXPECT_THAT(findings[0].title, HasSubstr("the guest on b 0x42"));
  EXPECT_EQ(findings[0].evidence["offset"], kRevision);
}

// The host reads a function's bytes only now and then: the guest's earlier view is what is left to compare with.
TEST(GuestView, AgainstWhatItSawBefore) {
  const auto findings = of(judged(
                               12,
                               [](record::Observation& o, Soak& soak) {
                                 guest_sees({0, 5, 10}, [&](pci::ConfigImage& image) {
                                   if (o.iteration >= 10) image.set_u8(kMsixSize, 7);
                                 })(o, soak);
                                 for (record::Document& document : o.documents) {
                                   if (document.kind != record::document_kind::kConfigSpace) continue;
                                   if (document.point == "guest") continue;
                                   for (base::Json& function : document.content["functions"]) {
                                     function.erase("bytes");
                                     function.erase("size");
                                   }
                                 }
                               },
                               two_builds()),
                           "config-space-drift");
  ASSERT_EQ(findings.size(), 1u) << describe(findings);
  EXPECT_EQ(findings[0].detected_iteration, 10);
  EXPECT_THAT(findings[0].title, HasSubstr("MSI-X table size (byte 0x9a): the guest in iteration 5 "));
}

}  // namespace
}  // namespace migsoak::detect
