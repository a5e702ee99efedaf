#include "fleet/inspect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <string>
#include <vector>

#include "fleet_fixture.h"

namespace migsoak::fleet {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Identify : public FleetTest {};

TEST_F(Identify, ReadsVersionAndPackage) {
  const auto identity = identify(host(), "qemu-system-x86_64", soon());
  ASSERT_TRUE(identity) << identity.error().describe();
  EXPECT_EQ(identity->path.front(), '/');
  EXPECT_EQ(std::count(identity->version.begin(), identity->version.end(), '.'), 2) << identity->version;
  EXPECT_THAT(identity->full, HasSubstr("QEMU emulator version " + identity->version));
  if (!identity->package.empty()) {
    EXPECT_THAT(identity->package, HasSubstr("qemu"));
  }
}

TEST_F(Identify, RefusesWhatIsNoQemu) {
  const std::string folder = dir_.string();
  const std::string text_file = folder + "/text";
  std::ofstream(text_file) << "hello";
  const std::string no_program = write_script("noexec", "");
  std::ofstream(no_program) << "\x7f"
                               "not an ELF";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"/bin/true", "'/bin/true' is not a QEMU: "},
      {"/bin/false", "'/bin/false' is not a QEMU: `--version` "},
      {"/no/such/qemu", "'/no/such/qemu' does not exist"},
      {"no-such-qemu", "no 'no-such-qemu' in PATH"},
      {folder, "is a directory"},
      {text_file, "is not executable"},
      {write_script("fails", "echo oops; exit 3\n"), "exit status 3 and said 'oops'"},
      {write_script("empty", ""), "printed nothing"},
      {no_program, "is not a QEMU"},
      {write_script("tools", "echo 'qemu-img version 7.2.22'\n"), "printed 'qemu-img version"},
      {write_script("nasty", "printf '\\033[31mred\\n'\n"), "\\x1b[31mred"},
  };
  for (const auto& [qemu, told] : cases) {
    const auto identity = identify(host(), qemu, soon());
    ASSERT_FALSE(identity) << qemu;
    EXPECT_EQ(identity.error().kind, base::ErrorKind::bad_input) << qemu;
    EXPECT_THAT(identity.error().describe(), HasSubstr(told));
  }
}

TEST_F(Identify, DoesNotWaitForever) {
  const std::string slow = write_script("slow", "exec sleep 1000\n");
  const auto identity = identify(host(), slow, base::Deadline::in(std::chrono::milliseconds(300)));
  ASSERT_FALSE(identity);
  EXPECT_EQ(identity.error().kind, base::ErrorKind::bad_input);
  EXPECT_THAT(identity.error().describe(), HasSubstr("in time"));
}

// A build that is not known to the fleet, and one that does not answer.
TEST_F(Identify, WhatABuildHasIsAskedWhereItIsNotRemembered) {
  Build build;
  build.binary = kSystemQemu;
  EXPECT_THAT(machine_names(host(), build, soon()).value(), Contains("q35"));
  EXPECT_FALSE(device_types(host(), build, soon()).value().empty());
  EXPECT_THAT(device_properties(host(), build, "virtio-blk-pci", soon()).value(), Contains("num-queues"));
  build.machines = {{"pc-q35-7.2", "q35", false, false}};
  EXPECT_THAT(machine_names(host(), build, soon()).value(), testing::ElementsAre("pc-q35-7.2", "q35"));
  Build silent;
  silent.binary = "/bin/false";
  EXPECT_THAT(machine_names(host(), silent, soon()).value(), IsEmpty());
  EXPECT_TRUE(device_types(host(), silent, soon()).value().empty());
  EXPECT_THAT(device_properties(host(), silent, "virtio-blk-pci", soon()).value(), IsEmpty());
}

}  // namespace
}  // namespace migsoak::fleet
