// Each way of failing, on real processes: the new side fails as it says, and the old one still has its guest.
#include "ops/told.h"
#include "ops/upgrade_failures/upgrade_failure.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>

#include "hypervisor/real_qemu.h"

namespace migsoak::ops {
namespace {

using base::Deadline;
using hypervisor::Machine;
using hypervisor::MachineSpec;
using hypervisor::soon;
using std::chrono::seconds;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

class UpgradeFailureTest : public hypervisor::RealQemu {
 protected:
  void TearDown() override {
    for (const std::string& path : traces_) fs::remove(path);
    source_.reset();
    destination_.reset();
    for (const auto& entry : fs::directory_iterator(run_dir_->path())) {
      EXPECT_EQ(entry.path().filename(), "owner") << "left behind";  // the run directory's own
    }
    RealQemu::TearDown();
  }
  static const UpgradeFailure& failure(const std::string& name) {
    const UpgradeFailure* found = find_upgrade_failure(name);
    EXPECT_NE(found, nullptr) << name;
    return *found;
  }
  // The new side's machine with that failure.
  MachineSpec sabotaged(const std::string& name) {
    MachineSpec next = spec("dst", true);
    const UpgradeFailure& what = failure(name);
    if (what.sabotage_machine != nullptr) {
      EXPECT_TRUE(what.sabotage_machine(next, ProcessOrder::beside, ""));
    }
    if (what.traces != nullptr) traces_ = what.traces(next);
    return next;
  }
  // What is said when it is started and never becomes ready.
  std::string refusal(const std::string& name, Deadline deadline = soon()) {
    auto machine = spawn(sabotaged(name));
    if (!machine) return machine.error().describe();
    const auto ready = (*machine)->wait_ready(deadline);
    if (!ready) return ready.error().describe() + ((*machine)->alive() ? " (alive)" : " (gone)");
    return "it came up";
  }
  MigrationContext context() {
    return {reactor_, told_, source_.get(), destination_.get(), {"unix", run_dir_->path(), "m1", "", "", ""}, soon()};
  }
  // From sabotaged() to the end of a precopy.
  MigrationOutcome migrated(const std::string& name) {
    source_ = raise(spec("src"));
    destination_ = raise(sabotaged(name));
    if (source_ == nullptr || destination_ == nullptr) return {};
    MigrationContext migration = context();
    if (failure(name).sabotage_channels != nullptr)
      failure(name).sabotage_channels(migration.channels, ProcessOrder::beside);
    return find_mode("precopy")->run(migration);
  }

  std::unique_ptr<Machine> source_, destination_;
  std::vector<std::string> traces_;
  Told told_;
};

TEST(UpgradeFailures, NamesAndSummariesAreThereAndUnique) {
  std::set<std::string> names;
  for (const UpgradeFailure& failure : upgrade_failures()) {
    EXPECT_TRUE(names.insert(failure.name).second) << failure.name;
    EXPECT_FALSE(failure.summary.empty()) << failure.name;
    EXPECT_TRUE(failure.sabotage_machine != nullptr || failure.sabotage_channels != nullptr ||
                failure.sabotage_saved_state != nullptr)
        << failure.name;
  }
  EXPECT_EQ(names,
            (std::set<std::string>{"missing-binary", "not-executable", "exits-at-once", "wrong-argument", "device-init",
                                   "hangs-before-qmp", "state-unwritable", "state-truncated", "hangs-after-load"}));
  EXPECT_EQ(find_upgrade_failure("no-such-failure"), nullptr);
}

TEST(UpgradeFailures, StateFilesAreSabotagedWhereThereAreSuch) {
  Mode mode;
  const auto applies_to = [&mode](ProcessOrder order, const std::string& name, const std::string& transport) {
    mode.needs.process_order = order;
    return applies(*find_upgrade_failure(name), mode, transport);
  };
  for (const ProcessOrder order : {ProcessOrder::beside, ProcessOrder::waiting, ProcessOrder::afterwards}) {
    EXPECT_TRUE(applies_to(order, "missing-binary", "tcp"));
    EXPECT_TRUE(applies_to(order, "state-unwritable", "unix"));
  }
  EXPECT_FALSE(applies_to(ProcessOrder::beside, "state-unwritable", "tcp")) << "no path to sabotage";
  EXPECT_TRUE(applies_to(ProcessOrder::in_place, "state-unwritable", "tcp")) << "a file, whatever the transport";
  EXPECT_FALSE(applies_to(ProcessOrder::beside, "state-truncated", "unix"));
  EXPECT_FALSE(applies_to(ProcessOrder::waiting, "state-truncated", "unix"));
  EXPECT_TRUE(applies_to(ProcessOrder::afterwards, "state-truncated", "unix"));
  EXPECT_TRUE(applies_to(ProcessOrder::in_place, "state-truncated", "unix"));
}

TEST_F(UpgradeFailureTest, MissingBinary) {
  EXPECT_THAT(refusal("missing-binary"), HasSubstr("does not exist"));
}
TEST_F(UpgradeFailureTest, NotExecutable) {
  EXPECT_THAT(refusal("not-executable"), HasSubstr("is not executable"));
  ASSERT_EQ(traces_.size(), 1U);
  EXPECT_TRUE(fs::exists(traces_[0]));
}
TEST_F(UpgradeFailureTest, ExitsAtOnce) {
  EXPECT_THAT(refusal("exits-at-once"), AllOf(HasSubstr("exit status 1"), HasSubstr("(gone)")));
}
TEST_F(UpgradeFailureTest, WrongArgument) {
  EXPECT_THAT(refusal("wrong-argument"), AllOf(HasSubstr("-no-such-option: invalid option"), HasSubstr("(gone)")));
}
TEST_F(UpgradeFailureTest, DeviceInit) {
  EXPECT_THAT(refusal("device-init"), AllOf(HasSubstr("Device needs media, but drive is empty"), HasSubstr("(gone)")));
}
TEST_F(UpgradeFailureTest, DeviceInitOnThePc) {
  MachineSpec next = sabotaged("device-init");
  next.machine = "pc";
  auto machine = spawn(next);
  ASSERT_TRUE(machine);
  EXPECT_THAT((*machine)->wait_ready(soon()).error().describe(), HasSubstr("Device needs media"));
}
TEST_F(UpgradeFailureTest, HangsBeforeQmp) {
  EXPECT_THAT(refusal("hangs-before-qmp", Deadline::in(seconds(2))),
              AllOf(HasSubstr("never answered on QMP"), HasSubstr("(alive)")));
  ASSERT_EQ(traces_.size(), 1U);
  EXPECT_TRUE(fs::exists(traces_[0])) << "it never came to the point where it hangs";
}

TEST_F(UpgradeFailureTest, HangsAfterLoadAndTheGuestNeverRanThere) {
  const MigrationOutcome outcome = migrated("hangs-after-load");
  ASSERT_EQ(outcome.result, MigrationResult::completed) << outcome.error;
  EXPECT_EQ(run_state(*destination_), "paused");
  failure("hangs-after-load").sabotage_arrived(*destination_);
  const auto answer =
      destination_->qmp().execute("query-status", base::Json::object(), Deadline::in(std::chrono::milliseconds(300)));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, base::ErrorKind::timeout);
  EXPECT_TRUE(destination_->alive());
  destination_->kill();
  EXPECT_FALSE(destination_->alive());
  ASSERT_TRUE(source_->qmp().execute("cont", base::Json::object(), soon()));
  EXPECT_EQ(run_state(*source_), "running");
}

TEST_F(UpgradeFailureTest, StateUnwritableWithASocket) {
  const MigrationOutcome outcome = migrated("state-unwritable");
  EXPECT_EQ(outcome.result, MigrationResult::failed);
  EXPECT_THAT(outcome.error, HasSubstr("No such file"));
  EXPECT_EQ(run_state(*source_), "running");
}

TEST_F(UpgradeFailureTest, StateUnwritableSabotagesWhatTheModeWrites) {
  const auto sabotaged_by = [this](ProcessOrder order) {
    MigrationChannels channels = context().channels;
    channels.state_file = channels.main_socket = channels.cpr_socket = "good";
    failure("state-unwritable").sabotage_channels(channels, order);
    return channels;
  };
  for (const ProcessOrder order : {ProcessOrder::afterwards, ProcessOrder::in_place}) {
    EXPECT_NE(sabotaged_by(order).state_file, "good");
    EXPECT_FALSE(fs::exists(fs::path(sabotaged_by(order).state_file).parent_path()));
    EXPECT_EQ(sabotaged_by(order).run_dir, run_dir_->path());
  }
  EXPECT_NE(sabotaged_by(ProcessOrder::waiting).main_socket, "good");
  EXPECT_EQ(sabotaged_by(ProcessOrder::waiting).cpr_socket, "good");
}

TEST_F(UpgradeFailureTest, StateTruncatedBetweenSavingAndLoading) {
  const std::string state = run_dir_->path() + "/state";
  traces_ = {state};
  std::ofstream(state) << std::string(100000, 'x');
  failure("state-truncated").sabotage_saved_state(state);
  EXPECT_GT(fs::file_size(state), 0U);
  EXPECT_LT(fs::file_size(state), 20000U);
}

// Where the same process goes on, what is exec'ed truncates first and then becomes the new image.
TEST_F(UpgradeFailureTest, StateTruncatedInPlace) {
  const std::string state = run_dir_->path() + "/state";
  traces_ = {state};
  std::ofstream(state) << std::string(100000, 'x');
  MachineSpec next = spec("dst", true);
  ASSERT_TRUE(failure("state-truncated").sabotage_machine(next, ProcessOrder::in_place, state));
  next.qemu = "echo";
  auto argv = hypervisor::command_line(next);
  ASSERT_TRUE(argv);
  proc::SpawnSpec echo;
  echo.name = "echo";
  echo.argv = *argv;
  const auto ran = proc::run_command(reactor_, *containment_, echo, soon());
  ASSERT_TRUE(ran) << ran.error().describe();
  EXPECT_TRUE(ran->status.success());
  EXPECT_THAT(ran->out, HasSubstr("-incoming defer"));
  EXPECT_GT(fs::file_size(state), 0U);
  EXPECT_LT(fs::file_size(state), 20000U);
  // The other modes get the truncation from the harness.
  MachineSpec untouched = spec("dst", true);
  ASSERT_TRUE(failure("state-truncated").sabotage_machine(untouched, ProcessOrder::afterwards, state));
  EXPECT_TRUE(untouched.wrapper.empty());
}

}  // namespace
}  // namespace migsoak::ops
