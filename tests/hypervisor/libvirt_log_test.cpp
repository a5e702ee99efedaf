#include "hypervisor/libvirt_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace migsoak::hypervisor {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// As libvirtd 9.0 writes it.
constexpr const char* kFirstLife =
    "2026-11-27 18:46:43.644+0000: starting up libvirt version: 9.0.0, package: 9.0.0-4+deb12u2 (Debian), qemu "
    "version: 7.2.22Debian 1:7.2+dfsg-7+deb12u18+b3, kernel: 6.1, hostname: vm\n"
    "LC_ALL=C \\\n"
    "PATH=/usr/bin \\\n"
    "/usr/bin/qemu-system-x86_64 \\\n"
    "-name guest=guest,debug-threads=on \\\n"
    "-msg timestamp=off\n"
    "char device redirected to /dev/pts/0 (label charserial0)\n"
    "2026-11-27 18:46:53.020+0000: initiating migration\n"
    "qemu-system-x86_64: terminating on signal 15 from pid 46 (/usr/sbin/libvirtd)\n"
    "2026-11-27 18:46:56.100+0000: shutting down, reason=migrated\n";
constexpr const char* kSecondLife =
    "2026-11-27 18:46:56.461+0000: starting up libvirt version: 9.0.0\n"
    "LC_ALL=C \\\n"
    "-msg timestamp=off\n"
    "qemu-system-x86_64: a word of the second\n";

class LibvirtLogTest : public testing::Test {
 protected:
  void SetUp() override { path_ = testing::TempDir() + "libvirt-log-" + std::to_string(::getpid()) + ".log"; }
  void TearDown() override { std::filesystem::remove(path_); }
  void say(const std::string& text) const { std::ofstream(path_, std::ios::app | std::ios::binary) << text; }
  std::string path_;
};

TEST_F(LibvirtLogTest, OnlyQemusOwnLinesAreTaken) {
  LibvirtLog log(path_);  // before libvirtd has made it
  EXPECT_THAT(log.take_lines(), IsEmpty());
  say(kFirstLife);
  EXPECT_THAT(log.take_lines(),
              ElementsAre("char device redirected to /dev/pts/0 (label charserial0)",
                          "qemu-system-x86_64: terminating on signal 15 from pid 46 (/usr/sbin/libvirtd)"));
  EXPECT_THAT(log.take_lines(), IsEmpty());
  say("qemu-system-x86_64: hal");
  EXPECT_THAT(log.take_lines(), IsEmpty());
  say("f a line\n");
  EXPECT_THAT(log.take_lines(), ElementsAre("qemu-system-x86_64: half a line"));
  EXPECT_EQ(log.last_lines().size(), 3U);
}

TEST_F(LibvirtLogTest, ALifeBeginsWithTheLastStartInTheFile) {
  say(kFirstLife);
  say(kSecondLife);
  LibvirtLog log(path_);
  EXPECT_THAT(log.take_lines(), ElementsAre("qemu-system-x86_64: a word of the second"));
}

TEST_F(LibvirtLogTest, AFloodIsCounted) {
  LibvirtLog log(path_);
  std::string flood;
  for (int i = 0; i < 3000; ++i) flood += "line\n";
  say(flood + std::string(100'000, 'x') + "\n");
  EXPECT_EQ(log.take_lines().size(), 2000U);
  EXPECT_GT(log.take_dropped_bytes(), 0U);
  EXPECT_EQ(log.take_dropped_bytes(), 0U);
}

}  // namespace
}  // namespace migsoak::hypervisor
