#include "compat/survey_record.h"

#include <gmock/gmock.h>

#include <string>

namespace migsoak::compat {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

DeviceReport device(const std::string& driver, Compatibility verdict, const std::string& reason = "") {
  DeviceReport report;
  report.device = {driver, "", "", true};
  report.verdict = verdict;
  report.reason = reason;
  return report;
}

SurveyReport both_directions() {
  SurveyReport report;
  report.from = "qemu-7.2";
  report.to = "qemu-11.1";
  report.from_version = "7.2.22";
  report.to_version = "11.1.2";
  report.machine = "pc-i440fx-7.2";
  report.devices = {device("e1000", Compatibility::same),
                    device("virtio-blk-pci", Compatibility::incompatible, "BAR0 is of another size"),
                    device("vhost-user-scsi-pci", Compatibility::unknown, "needs a backend")};
  report.devices[1].device.properties_from = "discard=off";
  StateReport refused;
  refused.outcome = LoadOutcome::refused;
  refused.lines = {"get_pci_config_device: Bad config data: i=0x10 read: c1 device: 1 cmask: ff wmask: 80 w1cmask:0"};
  report.devices[1].states = {refused};
  SurveyReport back = report;
  back.devices = {device("e1000", Compatibility::compatible)};
  report.reverse = {back};
  return report;
}

TEST(SurveyRecord, AnIterationIsAPairAndItsStatusTheVerdict) {
  const SurveyReport report = both_directions();
  const record::Manifest manifest = manifest_of(report, "migsoak compat --both", 1'767'225'600'000);
  EXPECT_EQ(manifest.run, "compat-20260101T000000Z");
  EXPECT_EQ(manifest.planned_count(), 4);
  EXPECT_EQ(manifest.environment.at("command"), "migsoak compat --both");
  ASSERT_THAT(manifest.sides, SizeIs(2));
  EXPECT_EQ(manifest.sides[1].qemu_version, "11.1.2");

  const auto all = observations_of(report, 1);
  ASSERT_THAT(all, SizeIs(4));
  const record::IterationStatus expected[] = {record::IterationStatus::completed, record::IterationStatus::failed,
                                              record::IterationStatus::unknown, record::IterationStatus::completed};
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].iteration, static_cast<std::int64_t>(i));
    EXPECT_EQ(all[i].plan.iteration, all[i].iteration);
    EXPECT_EQ(all[i].status, expected[i]) << i;
    EXPECT_EQ(all[i].plan.source_side, i < 3 ? "a" : "b");
    EXPECT_EQ(all[i].plan.destination_side, i < 3 ? "b" : "a");
    EXPECT_EQ(all[i].plan.machine, "pc-i440fx-7.2");
    ASSERT_THAT(all[i].documents, SizeIs(1));
    EXPECT_EQ(all[i].documents[0].kind, "compat-device");
  }
  EXPECT_EQ(all[1].documents[0].content, to_json(report.devices[1]));
}

TEST(SurveyRecord, WhatIsIncompatibleIsAFailureWithQemusLines) {
  const auto all = observations_of(both_directions(), 1);
  for (const std::size_t quiet : {0, 2, 3}) EXPECT_THAT(all[quiet].events, IsEmpty()) << quiet;
  ASSERT_THAT(all[1].events, SizeIs(1));
  const record::Event& failure = all[1].events[0];
  EXPECT_EQ(failure.kind, record::event_kind::kMigrationFailed);
  EXPECT_EQ(failure.subject, "qemu:b");
  EXPECT_EQ(failure.text, "virtio-blk-pci,discard=off to virtio-blk-pci: BAR0 is of another size");
  EXPECT_THAT(failure.detail.at("destination_log").dump(), HasSubstr("i=0x10 read: c1"));
}

}  // namespace
}  // namespace migsoak::compat
