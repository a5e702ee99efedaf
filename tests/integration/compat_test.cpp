// migsoak compat as a user runs it: what it prints, its exit status, and nothing left.
#include <algorithm>
#include <csignal>

#include "run_migsoak.h"

namespace migsoak::integration {
namespace {

using testing::HasSubstr;

class CompatCommand : public MigsoakTest {
 protected:
  Outcome compat(std::vector<std::string> arguments, const std::string& from = "qemu-system-x86_64",
                 const std::string& to = "qemu-system-x86_64") const {
    arguments.insert(arguments.begin(), {"compat", "--from", from, "--to", to});
    return migsoak(arguments);
  }
  void expect_refused(const std::vector<std::string>& arguments, const std::string& part) const {
    const Outcome outcome = compat(arguments);
    EXPECT_EQ(outcome.status, 2) << describe(outcome);
    EXPECT_EQ(outcome.out, "") << describe(outcome);
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << describe(outcome);
    EXPECT_THAT(outcome.err, HasSubstr(part)) << describe(outcome);
  }
};

TEST_F(CompatCommand, CaseTwoIsPredictedWithItsErrorLine) {
  const Outcome outcome = compat(
      {"--device-from", "virtio-blk-pci,discard=off,write-zeroes=off", "--device-to", "virtio-blk-pci", "--json"});
  EXPECT_EQ(outcome.status, 1) << describe(outcome);
  const auto json = base::parse_json(outcome.out);
  ASSERT_TRUE(json) << describe(outcome);
  const base::Json& device = json->at("devices").at(0);
  EXPECT_EQ(device.at("verdict"), "incompatible");
  EXPECT_EQ(device.at("bytes").at(0).at("offset"), 16);
  EXPECT_EQ(device.at("bytes").at(0).at("field"), "BAR0");
  EXPECT_THAT(outcome.out, HasSubstr("i=0x10 read: c1 device: 1 cmask: ff wmask: 80 w1cmask:0"));
  expect_nothing_left();
}

TEST_F(CompatCommand, ExitStatusTellsSameAndUnknown) {
  EXPECT_EQ(compat({"--device", "virtio-blk-pci,discard=off,write-zeroes=off"}).status, 0);
  // A type that can't be made without a backend outside QEMU.
  const Outcome unknown = compat({"--device", "vhost-user-scsi-pci"});
  EXPECT_EQ(unknown.status, 3) << describe(unknown);
  EXPECT_THAT(unknown.out, HasSubstr("vhost"));
}

TEST_F(CompatCommand, BadInputIsOneLine) {
  expect_refused({"--device", "virtio-blkk-pci"}, "did you mean 'virtio-blk-pci'");
  expect_refused({"--device", "virtio-blk-pci,discrad=off"}, "discrad");
  expect_refused({"--device", "virtio-blk-pci,addr=5"}, "--placement");
  expect_refused({"--device-from", "e1000"}, "pair up in order");
  expect_refused({"--device-from", "e1000", "--device-to", "e1000e"}, "same type");
  expect_refused({"--placement", "rot"}, "did you mean 'root'");
  expect_refused({"--placement", "root-port", "--machine", "pc"}, "root-port needs a q35");
  expect_refused({"--machine", "microvm"}, "microvm");
}

TEST_F(CompatCommand, WhatIsNotAQemuIsRefused) {
  for (const std::string& program : {std::string("/bin/true"), write("no-qemu", "hello\n"), std::string("/nowhere")}) {
    const Outcome outcome = compat({}, program);
    EXPECT_EQ(outcome.status, 2) << describe(outcome);
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << describe(outcome);
    EXPECT_EQ(compat({}, "qemu-system-x86_64", program).status, 2);
  }
  expect_nothing_left();
}

TEST_F(CompatCommand, OneInterruptEndsItAndLeavesNothing) {
  Running running = start({"compat", "--from", "qemu-system-x86_64", "--to", "qemu-system-x86_64"});
  ASSERT_TRUE(eventually([&] { return processes().size() > 4; }));
  running.signal(SIGINT);
  const Outcome outcome = running.wait(std::chrono::seconds(20));
  EXPECT_EQ(outcome.status, 130) << describe(outcome);
  expect_nothing_left();
}

}  // namespace
}  // namespace migsoak::integration
