// Hotplug operations that went otherwise than planned.
#include <gtest/gtest.h>

#include "record/config_space.h"
#include "soak_model.h"

namespace migsoak::detect {
namespace {

using namespace testing;
namespace kinds = record::event_kind;

// As the engine writes it (engine/operations.cpp).
record::Event operation(const record::PlannedOperation& planned, const std::string& result, bool confirmed,
                        const std::string& error = "") {
  record::Event e = event(kinds::kHotplug, "guest", planned.action + ": " + result,
                          {{"kind", planned.kind},
                           {"action", planned.action},
                           {"timing", planned.timing},
                           {"device", planned.device},
                           {"machine", "q35"},
                           {"result", result},
                           {"confirmed", confirmed}},
                          "hotplug");
  if (!error.empty()) e.detail["error"] = error;
  return e;
}

const record::PlannedOperation kPlug = {"virtio-blk", "plug", "settled", "vb0", "rp2", "0x0"};
const record::PlannedOperation kUnplug = {"virtio-blk", "unplug", "at-once", "vb0", "", "0x5"};
const record::PlannedOperation kRefused = {"memory", "plug", "refused", "dm0", "", "0x0"};

// In iterations 2 and 4 of 6; there the source is side a.
std::vector<record::Finding> with_operation(const record::PlannedOperation& planned, const record::Event& what) {
  return judged(6, [&](record::Observation& o, Soak&) {
    if (o.iteration != 2 && o.iteration != 4) return;
    o.plan.operations = {planned};
    o.events = {what};
  });
}

TEST(QtreeDrift, QuietWhenAllGoesAsPlanned) {
  EXPECT_TRUE(with_operation(kPlug, operation(kPlug, "done", true)).empty());
  EXPECT_TRUE(with_operation(kUnplug, operation(kUnplug, "done", true)).empty());
  EXPECT_TRUE(with_operation(kRefused, operation(kRefused, "expected-refusal", true)).empty());
  // Follows from what went wrong before, and that was found.
  EXPECT_TRUE(with_operation(kPlug, operation(kPlug, "skipped", false, "the device is there already")).empty());
}

TEST(QtreeDrift, ARefusalIsTheSourcesDoing) {
  const auto findings =
      with_operation(kPlug, operation(kPlug, "refused", false, "device_add: Bus 'rp2' does not support hotplugging"));
  ASSERT_EQ(findings.size(), 1U) << describe(findings);
  const record::Finding& finding = findings.front();
  EXPECT_EQ(finding.detector, "qtree-drift");
  EXPECT_EQ(finding.kind, "hotplug-refused");
  EXPECT_EQ(finding.process, "qemu:a");
  EXPECT_EQ(finding.blame, record::Blame::subject);
  EXPECT_EQ(finding.severity, record::Severity::fail);
  EXPECT_EQ(finding.count, 2);
  EXPECT_EQ(finding.detected_iteration, 2);
  EXPECT_EQ(finding.title,
            "qemu:a refused to plug virtio-blk vb0 at rp2 0x0 (q35) in iteration 2: device_add: Bus 'rp2' does not "
            "support hotplugging");
  EXPECT_EQ(finding.evidence["device"], "vb0");
  EXPECT_EQ(finding.evidence["from_qemu"], "7.2.22");
}

TEST(QtreeDrift, WhoWasAskedAfterTheMigrationIsInTheEvent) {
  record::Event event = operation(kUnplug, "refused", false, "device_del: Device 'vb0' not found");
  event.detail["side"] = "b";
  const auto findings = with_operation(kUnplug, event);
  ASSERT_EQ(findings.size(), 1U) << describe(findings);
  EXPECT_EQ(findings.front().process, "qemu:b");
  EXPECT_NE(findings.front().title.find("qemu:b refused to unplug virtio-blk vb0 at 0x5"), std::string::npos)
      << findings.front().title;
}

TEST(QtreeDrift, WhatHadToBeRefusedAndWasNot) {
  const auto findings = with_operation(
      kRefused, operation(kRefused, "not-refused", false, "QEMU changed its devices while it was migrating"));
  ASSERT_EQ(findings.size(), 1U) << describe(findings);
  EXPECT_EQ(findings.front().kind, "hotplug-not-refused");
  EXPECT_EQ(findings.front().process, "qemu:a");
  EXPECT_NE(findings.front().title.find("accepted to plug memory dm0"), std::string::npos) << findings.front().title;
}

TEST(QtreeDrift, WhatTheGuestNeverShowsIsTheGuests) {
  const auto findings = with_operation(kPlug, operation(kPlug, "done", false, "the guest does not show it"));
  ASSERT_EQ(findings.size(), 1U) << describe(findings);
  EXPECT_EQ(findings.front().kind, "hotplug-unconfirmed");
  EXPECT_EQ(findings.front().process, "guest");
  EXPECT_EQ(findings.front().blame, record::Blame::subject);
  EXPECT_NE(findings.front().title.find("did not confirm the plug of virtio-blk vb0"), std::string::npos)
      << findings.front().title;
}

TEST(QtreeDrift, AnUnplugThatIsNeverAcknowledgedIsAHangAndNothingElse) {
  const auto findings = judged(4, [](record::Observation& o, Soak&) {
    if (o.iteration < 2) return;
    o.plan.operations = {kUnplug};
    o.events = {operation(kUnplug, "unacknowledged", false, "the device is still there"),
                event(kinds::kHang, "guest", "the guest never let go of vb0 after device_del",
                      {{"waiting_for", "DEVICE_DELETED of vb0"}, {"waited_ms", 4000}}, "hotplug")};
  });
  ASSERT_EQ(findings.size(), 1U) << describe(findings);
  EXPECT_EQ(findings.front().detector, "hang");
  EXPECT_EQ(findings.front().process, "guest");
  EXPECT_EQ(findings.front().blame, record::Blame::subject);
  EXPECT_EQ(findings.front().count, 2);
  EXPECT_NE(findings.front().title.find("no DEVICE_DELETED of vb0"), std::string::npos) << findings.front().title;
}

TEST(QtreeDrift, OneFindingForEachKindOfDeviceAndError) {
  record::PlannedOperation other = kPlug;
  other.device = "vb1";
  record::PlannedOperation net = kPlug;
  net.kind = "virtio-net";
  const auto findings = judged(4, [&](record::Observation& o, Soak&) {
    o.events = {operation(kPlug, "refused", false, "Bus 'rp2' is full"),
                operation(other, "refused", false, "Bus 'rp5' is full"),
                operation(net, "refused", false, "Bus 'rp2' is full"),
                // A database is read back as it is, whatever wrote it.
                event(kinds::kHotplug, "guest", "", {{"result", 7}, {"confirmed", "no"}})};
  });
  EXPECT_EQ(findings.size(), 4U) << "two kinds of device, on two sides: " << describe(findings);
}

// Iteration 3 of 5: what the two ends' PCI functions are, before anything is sent.
std::vector<record::Finding> with_functions(const std::vector<record::ConfigFunction>& source,
                                            const std::vector<record::ConfigFunction>& destination,
                                            const std::vector<record::PlannedOperation>& planned = {}) {
  const auto space = [](const std::vector<record::ConfigFunction>& functions) {
    record::ConfigSpace content;
    content.method = "none";
    content.functions = functions;
    return record::to_json(content);
  };
  return judged(5, [&](record::Observation& o, Soak&) {
    if (o.iteration != 3) return;
    o.plan.operations = planned;
    o.documents.push_back({record::document_kind::kConfigSpace, "qemu:b", 1, "source", space(source)});
    o.documents.push_back({record::document_kind::kConfigSpace, "qemu:a", 2, "destination", space(destination)});
  });
}

record::ConfigFunction function(const std::string& path, const std::string& id, const std::string& device) {
  record::ConfigFunction made;
  made.address = made.path = path;
  made.id = id;
  made.device = device;
  return made;
}

TEST(QtreeDrift, AFunctionThatOneEndLacks) {
  const record::ConfigFunction disk = function("0000:00:04.0", "vd0", "1af4:1001");
  const record::ConfigFunction ghost = function("0000:00:1c.0", "ghost", "8086:7020");
  EXPECT_TRUE(with_functions({disk}, {disk}).empty());
  const auto extra = with_functions({disk}, {disk, ghost});
  ASSERT_EQ(extra.size(), 1U) << describe(extra);
  EXPECT_EQ(extra.front().kind, "device-extra");
  EXPECT_EQ(extra.front().detected_iteration, 3);
  EXPECT_NE(extra.front().title.find("ghost (8086:7020, 0000:00:1c.0)"), std::string::npos) << extra.front().title;
  const auto missing = with_functions({disk, ghost}, {disk});
  ASSERT_EQ(missing.size(), 1U) << describe(missing);
  EXPECT_EQ(missing.front().kind, "device-missing");
  const auto changed = with_functions({disk}, {function("0000:00:04.0", "vd0", "1af4:1042")});
  ASSERT_EQ(changed.size(), 1U) << describe(changed);
  EXPECT_EQ(changed.front().kind, "device-changed");
}

TEST(QtreeDrift, AnUnplugUnderWayLeavesTheDeviceOnTheOtherEnd) {
  const record::ConfigFunction disk = function("0000:00:05.0", "vb0", "1af4:1001");
  EXPECT_TRUE(with_functions({}, {disk}, {kUnplug}).empty());
  record::PlannedOperation settled = kUnplug;
  settled.timing = "settled";
  EXPECT_EQ(with_functions({}, {disk}, {settled}).size(), 1U);
}

}  // namespace
}  // namespace migsoak::detect
