// Hot upgrades that fail: what the outcome says, where the guest is, and that a source that still has it can go on to
// any other mode.
#include <csignal>
#include <filesystem>

#include "ops/upgrade_mode_fixture.h"

namespace migsoak::ops {
namespace {

using base::Deadline;
using hypervisor::Machine;
using hypervisor::MachineSpec;
using std::chrono::milliseconds;
using ::testing::AnyOf;
using ::testing::HasSubstr;

class UpgradeTroubleTest : public UpgradeMode {
 protected:
  // The source has the guest and is as good as before.
  void expect_source_goes_on(const MigrationOutcome& outcome) {
    EXPECT_TRUE(outcome.source_runs) << outcome.error;
    ASSERT_NE(source_, nullptr);
    EXPECT_EQ(run_state(*source_), "running");
    destination_.reset();
    sabotage_ = nullptr;
    sabotage_listener_ = nullptr;
    sabotage_exec_ = nullptr;
    tells_exec_ = true;
    deadline_ = hypervisor::soon();
    std::filesystem::remove(run_dir_->path() + "/q1.x");  // of a destination that was killed
    for (const char* mode : {"precopy", "cpr-exec", "cpr-transfer", "local", "cpr-reboot"}) {
      expect_upgrade(mode, kNewBuild);
      if (HasFatalFailure()) return;
    }
  }
};

TEST_F(UpgradeTroubleTest, UnwritableStateFile) {
  NEEDS_BUILD(kNewBuild);
  for (const char* mode : {"cpr-reboot", "cpr-exec"}) {
    start(kNewBuild, Ram::file);
    sabotage_ = [](MigrationContext& context) {
      context.channels.state_file = context.channels.run_dir + "/no-such-folder/state";
    };
    const MigrationOutcome outcome = upgrade(mode, kNewBuild);
    EXPECT_EQ(outcome.result, MigrationResult::failed) << outcome.error;
    EXPECT_THAT(outcome.error, HasSubstr("No such file or directory")) << mode;
    expect_source_goes_on(outcome);
    source_.reset();
  }
}

TEST_F(UpgradeTroubleTest, ExecCommandThatDoesNotExist) {
  NEEDS_BUILD(kNewBuild);
  start(kNewBuild, Ram::file);
  sabotage_exec_ = [](MachineSpec& next) { next.qemu = "/no/such/qemu"; };
  const MigrationOutcome outcome = upgrade("cpr-exec", kNewBuild);
  EXPECT_EQ(outcome.result, MigrationResult::failed) << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("execvp /no/such/qemu failed"));
  expect_source_goes_on(outcome);
}

TEST_F(UpgradeTroubleTest, NoExecCommandAtAll) {
  NEEDS_BUILD(kNewBuild);
  start(kNewBuild, Ram::file);
  tells_exec_ = false;
  const MigrationOutcome outcome = upgrade("cpr-exec", kNewBuild);
  EXPECT_EQ(outcome.result, MigrationResult::failed) << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("cpr-exec-command"));
  expect_source_goes_on(outcome);
}

TEST_F(UpgradeTroubleTest, ExecIntoWhatExitsAtOnceLosesTheGuest) {
  NEEDS_BUILD(kNewBuild);
  start(kNewBuild, Ram::memfd);
  const std::string script = write_script("dies", "#!/bin/sh\necho 'no \033[31mway' >&2\nexit 7\n");
  sabotage_exec_ = [&](MachineSpec& next) { next.qemu = script; };
  const MigrationOutcome outcome = upgrade("cpr-exec", kNewBuild);
  EXPECT_EQ(outcome.result, MigrationResult::source_lost) << outcome.error;
  EXPECT_THAT(outcome.error, AllOf(HasSubstr("exit status 7"), HasSubstr("no \\x1b[31mway")));
  EXPECT_FALSE(outcome.source_runs);
}

TEST_F(UpgradeTroubleTest, ExecIntoWhatNeverAnswersIsAHang) {
  NEEDS_BUILD(kNewBuild);
  start(kNewBuild, Ram::memfd);
  const std::string script = write_script("mute", "#!/bin/sh\nexec sleep 1000\n");
  sabotage_exec_ = [&](MachineSpec& next) { next.qemu = script; };
  deadline_ = Deadline::in(milliseconds(1500));
  const MigrationOutcome outcome = upgrade("cpr-exec", kNewBuild);
  EXPECT_EQ(outcome.result, MigrationResult::hang) << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("never answered on QMP"));
  EXPECT_FALSE(outcome.source_runs);
  EXPECT_TRUE(destination_ && destination_->alive()) << "for whoever wants to look at it";
}

// QEMU 10.0 takes no notice of the descriptors that it was exec'ed with.
TEST_F(UpgradeTroubleTest, ExecIntoAnOlderBuildLosesAGuestWhoseRamHasNoName) {
  NEEDS_BUILD(kNewBuild);
  NEEDS_BUILD(kOldBuild);
  start(kNewBuild, Ram::memfd);
  const MigrationOutcome outcome = upgrade("cpr-exec", kOldBuild);
  // What it makes of devices whose RAM is empty depends on what the firmware was at.
  if (outcome.result == MigrationResult::completed) {
    EXPECT_FALSE(has_pattern());
  } else {
    EXPECT_EQ(outcome.result, MigrationResult::source_lost) << outcome.error;
    EXPECT_THAT(outcome.error, HasSubstr("exit status 1"));
  }
  source_.reset();
  destination_.reset();
  // A file it opens again by its name, and goes on.
  start(kNewBuild, Ram::file);
  expect_upgrade("cpr-exec", kOldBuild);
}

TEST_F(UpgradeTroubleTest, SourceKilledBeforeItExecs) {
  NEEDS_BUILD(kNewBuild);
  start(kNewBuild, Ram::memfd);
  sabotage_listener_ = [&](Told& told) { told.on_started = [&] { ::kill(source_->qemu_pid(), SIGKILL); }; };
  const MigrationOutcome outcome = upgrade("cpr-exec", kNewBuild);
  EXPECT_EQ(outcome.result, MigrationResult::source_lost) << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("SIGKILL"));
}

TEST_F(UpgradeTroubleTest, TransferToWhatExitsAtOnce) {
  NEEDS_BUILD(kNewBuild);
  start(kNewBuild, Ram::file);
  MachineSpec next = next_spec("cpr-transfer", kNewBuild);
  next.extra_args = {"-no-such-option"};
  const MigrationOutcome outcome = upgrade("cpr-transfer", next);
  EXPECT_EQ(outcome.result, MigrationResult::destination_lost) << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("-no-such-option: invalid option"));
  ASSERT_TRUE(outcome.destination_exit);
  EXPECT_EQ(outcome.destination_exit->exit_code, 1);
  expect_source_goes_on(outcome);
}

TEST_F(UpgradeTroubleTest, TransferToWhatDiesInDeviceInit) {
  NEEDS_BUILD(kNewBuild);
  start(kNewBuild, Ram::file);
  MachineSpec next = next_spec("cpr-transfer", kNewBuild);
  next.extra_args = {"-device", "ide-hd,id=extra"};
  const MigrationOutcome outcome = upgrade("cpr-transfer", next);
  EXPECT_EQ(outcome.result, MigrationResult::destination_lost) << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("No drive specified"));
  expect_source_goes_on(outcome);
}

TEST_F(UpgradeTroubleTest, TransferToWhatNeverListensIsAHang) {
  NEEDS_BUILD(kNewBuild);
  start(kNewBuild, Ram::file);
  MachineSpec next = next_spec("cpr-transfer", kNewBuild);
  next.wrapper = {write_script("mute", "#!/bin/sh\nexec sleep 1000\n")};
  deadline_ = Deadline::in(milliseconds(500));
  const MigrationOutcome outcome = upgrade("cpr-transfer", next);
  EXPECT_EQ(outcome.result, MigrationResult::hang) << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("does not listen on its cpr channel"));
  expect_source_goes_on(outcome);
}

TEST_F(UpgradeTroubleTest, TransferToWhatHangsBeforeQmp) {
  NEEDS_BUILD(kNewBuild);
  start(kNewBuild, Ram::file);
  MachineSpec next = next_spec("cpr-transfer", kNewBuild);
  const std::string lonely = run_dir_->path() + "/w.sh";
  next.extra_args = {"-chardev", "socket,id=nobody,server=on,wait=on,path=" + lonely};
  deadline_ = Deadline::in(milliseconds(2000));
  const MigrationOutcome outcome = upgrade("cpr-transfer", next);
  EXPECT_EQ(outcome.result, MigrationResult::hang) << outcome.error;
  expect_source_goes_on(outcome);
}

TEST_F(UpgradeTroubleTest, TransferWithoutAMainSocketIsTheSourcesFailure) {
  NEEDS_BUILD(kNewBuild);
  start(kNewBuild, Ram::file);
  sabotage_ = [](MigrationContext& context) {
    context.channels.main_socket = context.channels.run_dir + "/no-such-folder/main";
  };
  const MigrationOutcome outcome = upgrade("cpr-transfer", kNewBuild);
  EXPECT_THAT(outcome.result, AnyOf(MigrationResult::failed, MigrationResult::destination_lost)) << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("No such file or directory"));
  std::filesystem::remove(run_dir_->path() + "/q1.m");
  expect_source_goes_on(outcome);
}

TEST_F(UpgradeTroubleTest, TransferToAnOlderBuildIsRefused) {
  NEEDS_BUILD(kNewBuild);
  NEEDS_BUILD(kOldBuild);
  start(kNewBuild, Ram::file);
  const MigrationOutcome outcome = upgrade("cpr-transfer", kOldBuild);
  EXPECT_EQ(outcome.result, MigrationResult::destination_lost) << outcome.error;
  ASSERT_TRUE(outcome.destination_exit);
  EXPECT_EQ(outcome.destination_exit->signal, 0);
  expect_source_goes_on(outcome);
}

TEST_F(UpgradeTroubleTest, RebootIntoWhatExitsAtOnceKeepsTheState) {
  NEEDS_BUILD(kNewBuild);
  start(kNewBuild, Ram::file);
  MachineSpec next = next_spec("cpr-reboot", kNewBuild);
  next.extra_args = {"-no-such-option"};
  const MigrationOutcome outcome = upgrade("cpr-reboot", next);
  EXPECT_EQ(outcome.result, MigrationResult::destination_lost) << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("-no-such-option: invalid option"));
  EXPECT_FALSE(outcome.source_runs);
  EXPECT_EQ(source_, nullptr);
  // All that is left of the guest, with its RAM.
  EXPECT_TRUE(std::filesystem::remove(state_file_));
}

TEST_F(UpgradeTroubleTest, RebootIntoWhatNeverAnswersIsAHang) {
  NEEDS_BUILD(kNewBuild);
  start(kNewBuild, Ram::file);
  MachineSpec next = next_spec("cpr-reboot", kNewBuild);
  next.wrapper = {write_script("mute", "#!/bin/sh\nexec sleep 1000\n")};
  deadline_ = Deadline::in(milliseconds(1500));
  const MigrationOutcome outcome = upgrade("cpr-reboot", next);
  EXPECT_EQ(outcome.result, MigrationResult::hang) << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("never answered on QMP"));
  EXPECT_TRUE(std::filesystem::remove(state_file_));
}

TEST_F(UpgradeTroubleTest, RebootFromATruncatedState) {
  NEEDS_BUILD(kNewBuild);
  start(kNewBuild, Ram::file);
  sabotage_listener_ = [this](Told& told) {
    told.on_raise = [this, raise = told.on_raise](Deadline by) {
      std::filesystem::resize_file(state_file_, 1000);
      return raise(by);
    };
  };
  const MigrationOutcome outcome = upgrade("cpr-reboot", kNewBuild);
  EXPECT_EQ(outcome.result, MigrationResult::destination_lost) << outcome.error;
  EXPECT_TRUE(std::filesystem::remove(state_file_));
}

TEST_F(UpgradeTroubleTest, StoppedSourceIsAHang) {
  NEEDS_BUILD(kNewBuild);
  for (const char* mode : {"cpr-reboot", "cpr-exec", "cpr-transfer"}) {
    start(kNewBuild, Ram::file);
    ::kill(source_->qemu_pid(), SIGSTOP);
    deadline_ = Deadline::in(milliseconds(500));
    const MigrationOutcome outcome = upgrade(mode, kNewBuild);
    EXPECT_EQ(outcome.result, MigrationResult::hang) << mode << ": " << outcome.error;
    EXPECT_FALSE(outcome.source_runs);
    destination_.reset();
    std::filesystem::remove(run_dir_->path() + "/" + "q" + std::to_string(instances_ - 1) + ".x");
    source_.reset();
  }
}

TEST_F(UpgradeTroubleTest, UserStopsTheRunWhileTheStateIsSaved) {
  NEEDS_BUILD(kNewBuild);
  for (const char* mode : {"cpr-reboot", "cpr-exec", "cpr-transfer"}) {
    proc::StopRequest stop;
    proc::Reactor reactor(&stop);
    const Mode& how = *find_mode(mode);
    const auto driver = make_driver(reactor);
    auto source = driver->start(build_spec(kNewBuild, "s", Ram::file));
    ASSERT_TRUE(source) << source.error().describe();
    ASSERT_TRUE((*source)->wait_ready(hypervisor::soon()));
    std::unique_ptr<Machine> next;
    Told listener;
    const MigrationChannels channels{"unix", run_dir_->path(),          "t",
                                     "",     run_dir_->path() + "/t.x", run_dir_->path() + "/t.state"};
    MigrationContext context{reactor, listener, source->get(), nullptr, channels, hypervisor::soon()};
    MachineSpec becomes = build_spec(kNewBuild, "e", Ram::file);
    becomes.qemu = "/no/such/qemu";
    ASSERT_TRUE((*source)->set_exec(becomes));
    if (how.needs.process_order == ProcessOrder::waiting) {
      MachineSpec silent = build_spec(kNewBuild, "d", Ram::file);
      silent.wrapper = {write_script("mute", "#!/bin/sh\nexec sleep 1000\n")};
      next = std::move(driver->start(silent).value());
      context.destination = next.get();
    }
    ASSERT_EQ(::kill((*source)->qemu_pid(), SIGSTOP), 0);
    while (stop.level() < 2) stop.raise();
    const MigrationOutcome outcome = how.run(context);
    EXPECT_TRUE(outcome.interrupted) << mode << ": " << outcome.error;
  }
}

}  // namespace
}  // namespace migsoak::ops
