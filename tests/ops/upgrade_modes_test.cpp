// The modes on real QEMUs: each alone, each after every other, and what is left of them.
#include <filesystem>

#include "ops/upgrade_mode_fixture.h"

namespace migsoak::ops {
namespace {

using hypervisor::MachineSpec;
using hypervisor::soon;
using ::testing::HasSubstr;

std::size_t fd_count(pid_t pid) {
  const std::filesystem::directory_iterator fds("/proc/" + std::to_string(pid) + "/fd");
  return static_cast<std::size_t>(std::distance(begin(fds), end(fds)));
}

double figure(const MigrationOutcome& outcome, const std::string& name) {
  for (const auto& [key, value] : outcome.figures) {
    if (key == name) return value;
  }
  return -1;
}

class UpgradeModesTest : public UpgradeMode {};

TEST_F(UpgradeModesTest, LocalSendsNoRam) {
  start(kSystemBuild, Ram::file);
  const MigrationOutcome copied = upgrade("precopy", kSystemBuild);
  ASSERT_EQ(copied.result, MigrationResult::completed) << copied.error;
  const MigrationOutcome local = upgrade("local", kSystemBuild);
  ASSERT_EQ(local.result, MigrationResult::completed) << local.error;
  EXPECT_TRUE(has_pattern());
  EXPECT_GT(figure(local, "ram_bytes"), 0);
  EXPECT_LT(figure(local, "ram_normal_pages"), figure(copied, "ram_normal_pages"));
  expect_upgrade("local", kSystemBuild);
  // The capability is set at both ends, and must not be left so: RAM is not the same this time.
  expect_upgrade("precopy", kSystemBuild);
}

TEST_F(UpgradeModesTest, LocalGoesOverItsOwnTransportsOnly) {
  start(kSystemBuild, Ram::file);
  sabotage_ = [](MigrationContext& context) { context.channels.transport = "tcp"; };
  const MigrationOutcome outcome = upgrade("local", kSystemBuild);
  EXPECT_EQ(outcome.result, MigrationResult::failed);
  EXPECT_THAT(outcome.error, HasSubstr("local has no transport 'tcp'"));
}

TEST_F(UpgradeModesTest, PrecopySendsNothingThatAnOldBuildDoesNotKnow) {
  NEEDS_BUILD("5.2");
  start("5.2", Ram::memfd);
  expect_upgrade("precopy", "5.2");
}

TEST_F(UpgradeModesTest, RebootTwice) {
  NEEDS_BUILD(kOldBuild);
  start(kOldBuild, Ram::file);
  const MigrationOutcome outcome = upgrade("cpr-reboot", kOldBuild);
  ASSERT_EQ(outcome.result, MigrationResult::completed) << outcome.error;
  EXPECT_EQ(outcome.source_status["status"], "completed") << "taken before the source went";
  EXPECT_GT(figure(outcome, "total_ms"), 0);
  EXPECT_TRUE(has_pattern());
  EXPECT_FALSE(std::filesystem::exists(state_file_));
  expect_upgrade("cpr-reboot", kOldBuild);
}

TEST_F(UpgradeModesTest, TransferTwiceWithEitherRam) {
  NEEDS_BUILD(kOldBuild);
  for (const Ram ram : {Ram::memfd, Ram::file}) {
    start(kOldBuild, ram);
    expect_upgrade("cpr-transfer", kOldBuild);
    const MigrationOutcome outcome = upgrade("cpr-transfer", kOldBuild);
    ASSERT_EQ(outcome.result, MigrationResult::completed) << outcome.error;
    EXPECT_GE(figure(outcome, "downtime_ms"), 0);
    EXPECT_TRUE(has_pattern());
    source_.reset();
  }
}

TEST_F(UpgradeModesTest, ExecIsOneProcessAndItsDescriptorsStay) {
  NEEDS_BUILD(kNewBuild);
  start(kNewBuild, Ram::memfd);
  const pid_t pid = source_->qemu_pid();
  expect_upgrade("cpr-exec", kNewBuild);
  const std::size_t fds = fd_count(pid);
  for (int i = 0; i < 4; ++i) expect_upgrade("cpr-exec", kNewBuild);
  EXPECT_EQ(source_->qemu_pid(), pid);
  EXPECT_EQ(fd_count(pid), fds);
  EXPECT_NE(run_state(*source_), "?");
  const auto quit = source_->quit(soon());
  ASSERT_TRUE(quit) << quit.error().describe();
  EXPECT_TRUE(source_->exit_status().value().success());
}

TEST_F(UpgradeModesTest, ExecLosesADescriptorOfARamFile) {
  NEEDS_BUILD(kNewBuild);
  start(kNewBuild, Ram::file);
  expect_upgrade("cpr-exec", kNewBuild);
  const std::size_t before = fd_count(source_->qemu_pid());
  expect_upgrade("cpr-exec", kNewBuild);
  // QEMU's defect (mode.h says what it is): when a build has it no more, that is to be known.
  EXPECT_EQ(fd_count(source_->qemu_pid()), before + 1);
}

TEST_F(UpgradeModesTest, APausedGuestStaysPaused) {
  NEEDS_BUILD(kNewBuild);
  start(kNewBuild, Ram::file);
  ASSERT_TRUE(source_->qmp().execute("stop", base::Json::object(), soon()));
  for (const char* mode : {"cpr-exec", "cpr-transfer", "cpr-reboot", "local", "precopy"}) {
    const MigrationOutcome outcome = upgrade(mode, kNewBuild);
    ASSERT_EQ(outcome.result, MigrationResult::completed) << mode << ": " << outcome.error;
    EXPECT_EQ(run_state(*source_), "paused") << mode;
    EXPECT_TRUE(has_pattern()) << mode;
  }
}

TEST_F(UpgradeModesTest, EachAfterEachOther) {
  NEEDS_BUILD(kNewBuild);
  start(kNewBuild, Ram::file);
  for (const char* first : {"local", "cpr-reboot", "cpr-transfer", "cpr-exec", "precopy"}) {
    for (const char* second : {"cpr-exec", "precopy", "local", "cpr-transfer", "cpr-reboot"}) {
      expect_upgrade(first, kNewBuild);
      expect_upgrade(second, kNewBuild);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_F(UpgradeModesTest, AcrossBuilds) {
  NEEDS_BUILD(kOldBuild);
  NEEDS_BUILD(kNewBuild);
  start(kOldBuild, Ram::file);
  expect_upgrade("cpr-transfer", kNewBuild);
  expect_upgrade("cpr-exec", kNewBuild);
  expect_upgrade("cpr-reboot", kOldBuild);
  expect_upgrade("local", kNewBuild);
  expect_upgrade("precopy", kOldBuild);
}

// What is wrong with it, empty: nothing.
std::string ram_error(const char* mode, const MachineSpec& one, const MachineSpec& other) {
  const auto checked = check_ram_sharing(*find_mode(mode), one, other);
  return checked ? "" : checked.error().message;
}

TEST(RamSharing, EachModeWantsWhatItSays) {
  MachineSpec one, other;
  const auto wrong = [&](const char* mode) { return ram_error(mode, one, other); };
  EXPECT_EQ(wrong("precopy"), "");
  EXPECT_THAT(wrong("local"), HasSubstr("needs RAM in a file"));
  EXPECT_THAT(wrong("cpr-transfer"), HasSubstr("aux-ram-share=on"));
  one.aux_ram_share = other.aux_ram_share = true;
  EXPECT_EQ(wrong("cpr-transfer"), "") << "a memfd is handed over";
  EXPECT_EQ(wrong("cpr-exec"), "");
  other.memory_bytes *= 2;
  EXPECT_THAT(wrong("cpr-exec"), HasSubstr("one size"));
  other.memory_bytes = one.memory_bytes;
  other.memory_extra_bytes = hypervisor::kOddMemoryBytes;
  EXPECT_THAT(wrong("cpr-exec"), HasSubstr("one size"));
  other.memory_extra_bytes = 0;

  one.ram_path = "/nowhere/a";
  EXPECT_THAT(wrong("cpr-transfer"), HasSubstr("one has /nowhere/a, the other a memfd of its own"));
  EXPECT_THAT(wrong("cpr-reboot"), HasSubstr("needs RAM in a file"));
  other.ram_path = "/nowhere/b";
  EXPECT_EQ(wrong("precopy"), "");
  for (const char* mode : {"local", "cpr-reboot", "cpr-transfer", "cpr-exec"}) {
    EXPECT_THAT(wrong(mode), HasSubstr("needs the same RAM")) << mode;
  }
  other.ram_path = one.ram_path;
  EXPECT_THAT(wrong("precopy"), HasSubstr("RAM of its own at each end: both have /nowhere/a"));
  for (const char* mode : {"local", "cpr-reboot", "cpr-transfer", "cpr-exec"}) EXPECT_EQ(wrong(mode), "") << mode;
}

using RamSharingFiles = UpgradeMode;
TEST_F(RamSharingFiles, AreWhatTheyAreByWhateverName) {
  MachineSpec one = spec("a"), other = spec("b");
  one.ram_path = write_script("ram", "");
  other.ram_path = run_dir_->path() + "/link.sh";
  std::filesystem::create_symlink(one.ram_path, other.ram_path);
  EXPECT_THAT(ram_error("precopy", one, other), HasSubstr("RAM of its own"));
  EXPECT_EQ(ram_error("local", one, other), "");
}

}  // namespace
}  // namespace migsoak::ops
