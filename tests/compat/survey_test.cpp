// Whole surveys: every type, both directions, and what can go wrong.
#include <gmock/gmock.h>

#include <fcntl.h>
#include <sys/stat.h>

#include <fstream>
#include <set>

#include "compat/compat_fixture.h"

namespace migsoak::compat {
namespace {

using ::testing::HasSubstr;

class Survey : public CompatFixture {
 protected:
  // A program in the run directory, to stand in for a QEMU.
  std::string script(const std::string& text, const std::string& name = "stand-in") const {
    const std::string path = run_dir_->path() + "/" + name;
    std::ofstream(path) << "#!/bin/sh\n" << text;
    ::chmod(path.c_str(), 0700);
    return path;
  }
};

// Two of the same build, every type: none is called incompatible, each is reported once and in order, at least 40 were
// really tried, and what is unknown says why.
TEST_F(Survey, TwoOfTheSameBuildAreTheSame) {
  const auto report = run(request({}));
  ASSERT_TRUE(report) << report.error().describe();
  std::vector<std::string> expected, got;
  for (const DevicePair& device : common_devices(build_, build_, nullptr)) expected.push_back(device.driver);
  std::size_t tried = 0;
  for (const DeviceReport& device : report->devices) {
    got.push_back(device.device.driver);
    if (device.verdict == Compatibility::same) ++tried;
    if (device.verdict == Compatibility::unknown) {
      EXPECT_FALSE(device.reason.empty()) << device.device.driver;
    } else {
      EXPECT_EQ(device.verdict, Compatibility::same) << device.device.driver << ": " << device.reason;
    }
  }
  EXPECT_EQ(got, expected);
  EXPECT_GE(tried, 40u);
}

TEST_F(Survey, Q35AtTheRootAndBehindPorts) {
  std::vector<DevicePair> devices;
  for (const char* driver :
       {"virtio-blk-pci", "virtio-net-pci", "virtio-gpu-pci", "e1000e", "qemu-xhci", "megasas-gen2", "vmxnet3",
        "ich9-ahci", "virtio-scsi-pci", "virtio-rng-pci-non-transitional"}) {
    devices.push_back(pair_of(driver, "", ""));
  }
  for (const Placement placement : {Placement::root, Placement::root_port}) {
    SurveyRequest wanted = request(devices, "q35");
    wanted.builds.placement = placement;
    const auto report = run(wanted);
    ASSERT_TRUE(report) << report.error().describe();
    for (const DeviceReport& device : report->devices) {
      EXPECT_EQ(device.verdict, Compatibility::same) << device.device.driver << ": " << device.reason;
    }
  }
}

// Its slot control has a bit that is a command: written like any other, it would get the load refused (hazards.def).
TEST_F(Survey, ARootPortIsTheSame) {
  EXPECT_EQ(survey_one(pair_of("pcie-root-port", "", ""), "q35").verdict, Compatibility::same);
}

TEST_F(Survey, BothDirections) {
  auto wanted = request({pair_of("virtio-blk-pci", "discard=off,write-zeroes=off", "")});
  wanted.both_directions = true;
  const auto report = run(wanted);
  ASSERT_TRUE(report) << report.error().describe();
  ASSERT_EQ(report->reverse.size(), 1u);
  ASSERT_EQ(report->reverse.front().devices.size(), 1u);
  EXPECT_EQ(report->reverse.front().devices.front().device.properties_to, "discard=off,write-zeroes=off");
  EXPECT_EQ(state_of(report->reverse.front().devices.front(), GuestState::all_ones)->outcome, LoadOutcome::loaded);
  EXPECT_EQ(state_of(report->devices.front(), GuestState::all_ones)->outcome, LoadOutcome::refused);
}

TEST_F(Survey, UnknownDeviceOrPropertyIsBadInput) {
  const auto device = run(request({pair_of("virtio-blkk-pci", "", "")}));
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().kind, base::ErrorKind::bad_input);
  EXPECT_THAT(device.error().describe(), HasSubstr("did you mean 'virtio-blk-pci'?"));
  const auto property = run(request({pair_of("virtio-rng-pci", "colour=blue", "colour=blue")}));
  ASSERT_FALSE(property);
  EXPECT_EQ(property.error().kind, base::ErrorKind::bad_input);
  EXPECT_THAT(property.error().describe(), HasSubstr("colour"));
}

// A property that one side lacks is no mistake in itself.
TEST_F(Survey, WhatOneSideCannotMakeIsUnknown) {
  const auto report = run(request({pair_of("virtio-rng-pci", "", "colour=blue"), pair_of("e1000", "", "")}));
  ASSERT_TRUE(report) << report.error().describe();
  EXPECT_EQ(report->devices[0].verdict, Compatibility::unknown);
  EXPECT_THAT(report->devices[0].reason, HasSubstr("can't make it"));
  EXPECT_EQ(report->devices[1].verdict, Compatibility::same);
  EXPECT_EQ(report->worst(), Compatibility::unknown);
}

TEST_F(Survey, ABuildThatHangsOrDiesIsUnknown) {
  auto wanted = request({pair_of("e1000", "", "")});
  wanted.builds.to.binary = script("exec sleep 1000\n");
  const auto hang =
      survey({*containment_, run_dir_->path(), nullptr}, wanted, base::Deadline::in(std::chrono::seconds(3)));
  ASSERT_TRUE(hang) << hang.error().describe();
  ASSERT_EQ(hang->devices.size(), 1u);
  EXPECT_EQ(hang->devices.front().verdict, Compatibility::unknown);
  EXPECT_THAT(hang->devices.front().reason, HasSubstr("did not come up in time"));
  wanted.builds.to.binary = script("echo boo; exit 7\n");
  const auto death = run(wanted);
  ASSERT_TRUE(death) << death.error().describe();
  EXPECT_EQ(death->devices.front().verdict, Compatibility::unknown);
  EXPECT_THAT(death->devices.front().reason, HasSubstr("boo"));
}

// The storage daemon is the source's build's own; the devices that do not need it are tried all the same.
TEST_F(Survey, AStorageDaemonThatHangsOrDiesIsUnknown) {
  auto wanted = request({pair_of("vhost-user-blk-pci", "", ""), pair_of("e1000", "", "")});
  wanted.builds.from.binary = script("exec qemu-system-x86_64 \"$@\"\n", "qemu");
  script("echo boo; exit 3\n", "qemu-storage-daemon");
  const auto death = run(wanted);
  ASSERT_TRUE(death) << death.error().describe();
  EXPECT_EQ(death->devices[0].verdict, Compatibility::unknown);
  EXPECT_EQ(death->devices[0].reason, "qemu-storage-daemon: boo");
  EXPECT_EQ(death->devices[1].verdict, Compatibility::same) << death->devices[1].reason;
  wanted.devices.pop_back();
  script("exec sleep 1000\n", "qemu-storage-daemon");
  const auto hang = run(wanted);
  ASSERT_TRUE(hang) << hang.error().describe();
  EXPECT_EQ(hang->devices[0].reason, "qemu-storage-daemon did not come up in time");
}

TEST_F(Survey, NothingIsLeftBehind) {
  ASSERT_TRUE(run(request({pair_of("virtio-blk-pci", "", ""), pair_of("e1000", "", "")})));
  EXPECT_TRUE(containment_->processes().empty());
}

TEST_F(Survey, JsonHasTheContractsKeys) {
  const auto report = run(request({pair_of("virtio-blk-pci", "discard=off,write-zeroes=off", "")}));
  ASSERT_TRUE(report) << report.error().describe();
  const base::Json json = to_json(*report);
  EXPECT_TRUE(json.contains("from") && json.contains("to") && json.contains("machine"));
  const base::Json& device = json.at("devices").at(0);
  EXPECT_EQ(device.at("device"), "virtio-blk-pci");
  EXPECT_EQ(device.at("verdict"), "incompatible");
  const base::Json& byte = device.at("bytes").at(0);
  EXPECT_EQ(byte.at("offset"), 16);
  EXPECT_EQ(byte.at("field"), "BAR0");
  for (const char* key : {"from", "to", "mask_from", "mask_to", "why"}) EXPECT_TRUE(byte.contains(key)) << key;
  EXPECT_THAT(to_text(*report), HasSubstr("Bad config data: i=0x10 read: c1"));
}

}  // namespace
}  // namespace migsoak::compat
