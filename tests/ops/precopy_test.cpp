#include <gmock/gmock.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>

#include "hypervisor/real_qemu.h"
#include "ops/modes/mode.h"
#include "ops/told.h"

namespace migsoak::ops {
namespace {

using base::Deadline;
using base::Json;
using hypervisor::Machine;
using hypervisor::soon;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class PrecopyTest : public hypervisor::RealQemu {
 protected:
  void raise_pair() {
    source_ = raise(spec("src"));
    destination_ = raise(spec("dst", true));
    ASSERT_TRUE(source_ && destination_);
  }
  MigrationContext context(const std::string& transport = "unix", Deadline deadline = soon()) {
    return {reactor_, told_, source_.get(), destination_.get(), {transport, run_dir_->path(), "m1", "", "", ""},
            deadline};
  }
  // So slow that it never ends by itself within a test.
  void throttle() { ASSERT_TRUE(source_->qmp().execute("migrate-set-parameters", {{"max-bandwidth", 2000}}, soon())); }
  static MigrationOutcome precopy(MigrationContext& context) { return find_mode("precopy")->run(context); }
  // Runs a throttled migration and does something to it once it is under way.
  MigrationOutcome precopy_disturbed(const std::function<void()>& disturb, Deadline deadline = soon()) {
    throttle();
    auto under_way = context("unix", deadline);
    bool disturbed = false;
    told_.on_progress = [&] {
      if (disturbed || !source_->qmp().has_event("MIGRATION", "status", "active")) return;
      disturbed = true;
      disturb();
    };
    auto outcome = precopy(under_way);
    told_.on_progress = nullptr;
    EXPECT_TRUE(disturbed);
    return outcome;
  }
  bool socket_is_gone() const {
    struct stat status {};
    return ::lstat((run_dir_->path() + "/m1.m").c_str(), &status) != 0;
  }
  static double figure(const MigrationOutcome& outcome, const std::string& name) {
    for (const auto& [key, value] : outcome.figures) {
      if (key == name) return value;
    }
    return -1;
  }

  std::unique_ptr<Machine> source_, destination_;
  Told told_;
};

TEST_F(PrecopyTest, TellsOfEachPhaseOnceAndInOrder) {
  raise_pair();
  std::vector<MigrationPhase> phases;
  auto there = context();
  told_.on_reached = [&](MigrationPhase phase) { phases.push_back(phase); };
  const auto outcome = precopy(there);
  ASSERT_EQ(outcome.result, MigrationResult::completed) << outcome.error;
  ASSERT_GE(phases.size(), 2U);
  EXPECT_THAT(phases, Contains(MigrationPhase::active));
  EXPECT_EQ(phases.back(), MigrationPhase::completed);
  EXPECT_TRUE(std::is_sorted(phases.begin(), phases.end()));
  EXPECT_EQ(std::adjacent_find(phases.begin(), phases.end()), phases.end());
}

TEST_F(PrecopyTest, AMigrationThatIsCancelledWasActiveAndNeverCompleted) {
  raise_pair();
  throttle();
  std::vector<MigrationPhase> phases;
  auto there = context();
  told_.on_reached = [&](MigrationPhase phase) {
    phases.push_back(phase);
    if (phase == MigrationPhase::active) source_->qmp().send("migrate_cancel");
  };
  EXPECT_EQ(precopy(there).result, MigrationResult::failed);
  ASSERT_FALSE(phases.empty());
  EXPECT_EQ(phases.back(), MigrationPhase::active);
}

class TransportTest : public PrecopyTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(TransportTest, MovesARunningMachineThereAndBack) {
  raise_pair();
  int progress = 0;
  auto there = context(GetParam());
  told_.on_progress = [&] { ++progress; };
  auto outcome = precopy(there);
  ASSERT_EQ(outcome.result, MigrationResult::completed) << outcome.error;
  EXPECT_EQ(outcome.error, "");
  EXPECT_GT(progress, 0);
  EXPECT_EQ(run_state(*source_), "postmigrate");
  EXPECT_EQ(run_state(*destination_), "running");
  EXPECT_EQ(outcome.source_status["status"], "completed");
  EXPECT_GT(outcome.total_ms, 0);
  for (const char* name : {"total_ms", "downtime_ms", "setup_ms", "ram_bytes", "ram_dirty_sync_count",
                           "ram_normal_pages", "ram_duplicate_pages", "ram_mbit_per_s"}) {
    EXPECT_GE(figure(outcome, name), 0) << name;
  }
  EXPECT_GT(figure(outcome, "ram_bytes"), 0);
  EXPECT_GT(figure(outcome, "total_ms"), 0) << "read before QEMU had worked it out";
  EXPECT_TRUE(socket_is_gone());

  // Ping-pong: the next one starts with an inbox full of the last one's events.
  ASSERT_TRUE(source_->quit(soon()));
  source_ = std::move(destination_);
  destination_ = raise(spec("dst2", true));
  ASSERT_TRUE(destination_);
  auto back = context(GetParam());
  outcome = precopy(back);
  ASSERT_EQ(outcome.result, MigrationResult::completed) << outcome.error;
  EXPECT_EQ(run_state(*destination_), "running");
}

INSTANTIATE_TEST_SUITE_P(All, TransportTest, ::testing::ValuesIn(transport_names()),
                         [](const auto& test) { return test.param; });

TEST_F(PrecopyTest, MovesAPausedMachine) {
  raise_pair();
  ASSERT_TRUE(source_->qmp().execute("stop", Json::object(), soon()));
  auto move = context();
  const auto outcome = precopy(move);
  ASSERT_EQ(outcome.result, MigrationResult::completed) << outcome.error;
  EXPECT_EQ(run_state(*destination_), "paused");
}

TEST_F(PrecopyTest, SourceKilledMidway) {
  raise_pair();
  const auto outcome = precopy_disturbed([&] { ::kill(source_->qemu_pid(), SIGKILL); });
  EXPECT_EQ(outcome.result, MigrationResult::source_lost) << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("SIGKILL"));
  EXPECT_FALSE(outcome.source_runs);
  EXPECT_TRUE(socket_is_gone());
}

TEST_F(PrecopyTest, DestinationKilledMidway) {
  raise_pair();
  const auto outcome = precopy_disturbed([&] { ::kill(destination_->qemu_pid(), SIGKILL); });
  EXPECT_EQ(outcome.result, MigrationResult::destination_lost) << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("SIGKILL"));
  ASSERT_TRUE(outcome.destination_exit);
  EXPECT_EQ(outcome.destination_exit->signal, SIGKILL);
  EXPECT_TRUE(outcome.source_runs);
  EXPECT_EQ(run_state(*source_), "running");

  // The source is as good as before: it can still go elsewhere.
  destination_ = raise(spec("dst2", true));
  ASSERT_TRUE(destination_);
  ASSERT_TRUE(source_->qmp().execute("migrate-set-parameters", {{"max-bandwidth", 1LL << 40}}, soon()));
  auto again = context();
  EXPECT_EQ(precopy(again).result, MigrationResult::completed);
}

TEST_F(PrecopyTest, DestinationThatRefusesTheLoad) {
  source_ = raise(spec("src"));
  auto other = spec("dst", true);
  other.memory_bytes = 128u << 20;  // not the machine that is coming
  destination_ = raise(other);
  ASSERT_TRUE(source_ && destination_);
  auto move = context();
  const auto outcome = precopy(move);
  EXPECT_EQ(outcome.result, MigrationResult::destination_lost) << outcome.error;
  ASSERT_TRUE(outcome.destination_exit);
  EXPECT_EQ(outcome.destination_exit->exit_code, 1);
  EXPECT_THAT(outcome.error, HasSubstr("Size mismatch: ram0"));
  EXPECT_TRUE(outcome.source_runs);
  EXPECT_EQ(run_state(*source_), "running");
}

TEST_F(PrecopyTest, StoppedDestinationIsAHang) {
  raise_pair();
  const auto outcome =
      precopy_disturbed([&] { ::kill(destination_->qemu_pid(), SIGSTOP); }, Deadline::in(milliseconds(1500)));
  EXPECT_EQ(outcome.result, MigrationResult::hang) << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("destination status no answer"));
  EXPECT_TRUE(outcome.source_runs) << "cancelled, and running again";
  EXPECT_EQ(run_state(*source_), "running");
  EXPECT_TRUE(socket_is_gone());
}

TEST_F(PrecopyTest, StoppedSourceIsAHang) {
  raise_pair();
  const auto outcome =
      precopy_disturbed([&] { ::kill(source_->qemu_pid(), SIGSTOP); }, Deadline::in(milliseconds(1000)));
  EXPECT_EQ(outcome.result, MigrationResult::hang) << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("source status no answer"));
  EXPECT_FALSE(outcome.source_runs);
}

TEST_F(PrecopyTest, CancelledByTheSourceIsFailed) {
  raise_pair();
  const auto outcome = precopy_disturbed([&] { source_->qmp().send("migrate_cancel"); });
  EXPECT_EQ(outcome.result, MigrationResult::failed) << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("cancelled"));
  EXPECT_TRUE(outcome.source_runs);
  EXPECT_EQ(run_state(*source_), "running");
}

TEST_F(PrecopyTest, BlockedMigrationIsFailedAndTellsWhy) {
  auto blocked = spec("src");
  blocked.extra_args = {"-blockdev", "driver=null-co,node-name=d,read-zeroes=on,size=1048576", "-device",
                        "nvme,id=n,drive=d,serial=s,addr=0x10"};
  source_ = raise(blocked);
  destination_ = raise(spec("dst", true));
  ASSERT_TRUE(source_ && destination_);
  auto move = context();
  const auto outcome = precopy(move);
  // nvme blocks migration in the QEMUs of the time; where it no longer does, the destination lacks the device.
  EXPECT_NE(outcome.result, MigrationResult::completed);
  EXPECT_THAT(outcome.error, Not(IsEmpty()));
  EXPECT_TRUE(outcome.source_runs) << outcome.error;
  EXPECT_EQ(run_state(*source_), "running");
}

TEST_F(PrecopyTest, DeadEndsAreToldApartFromTheStart) {
  raise_pair();
  destination_->kill();
  auto to_nowhere = context();
  auto outcome = precopy(to_nowhere);
  EXPECT_EQ(outcome.result, MigrationResult::destination_lost) << outcome.error;
  EXPECT_TRUE(outcome.source_runs);
  destination_ = raise(spec("dst2", true));
  source_->kill();
  auto from_nowhere = context();
  outcome = precopy(from_nowhere);
  EXPECT_EQ(outcome.result, MigrationResult::source_lost) << outcome.error;
}

TEST_F(PrecopyTest, DestinationThatDoesNotListenIsFailed) {
  source_ = raise(spec("src"));
  destination_ = raise(spec("dst"));  // no -incoming
  ASSERT_TRUE(source_ && destination_);
  for (const auto& transport : transport_names()) {
    auto move = context(transport);
    const auto outcome = precopy(move);
    EXPECT_EQ(outcome.result, MigrationResult::failed) << transport << ": " << outcome.error;
    EXPECT_THAT(outcome.error, HasSubstr("destination: migrate-incoming: GenericError"));
    EXPECT_TRUE(outcome.source_runs);
  }
  auto unknown = context("pigeon");
  EXPECT_THAT(precopy(unknown).error, HasSubstr("no transport 'pigeon'"));
}

TEST_F(PrecopyTest, UserStopsTheRun) {
  // Its own Reactor, with a stop request.
  proc::StopRequest stop;
  proc::Reactor reactor(&stop);
  const auto driver = make_driver(reactor);
  auto source = driver->start(spec("src"));
  auto destination = driver->start(spec("dst", true));
  ASSERT_TRUE(source && destination);
  ASSERT_TRUE((*source)->wait_ready(soon()));
  ASSERT_TRUE((*destination)->wait_ready(soon()));
  ASSERT_TRUE((*source)->qmp().execute("migrate-set-parameters", {{"max-bandwidth", 2000}}, soon()));
  told_.on_progress = [&] {
    if (stop.level() < 2) stop.raise();
  };
  MigrationContext move{reactor, told_, source->get(), destination->get(), {"unix", run_dir_->path(), "m1", "", "", ""},
                        soon()};
  EXPECT_TRUE(precopy(move).interrupted);
}

TEST(Catalog, NamesModesAndTransports) {
  EXPECT_THAT(transport_names(), ::testing::ElementsAre("unix", "tcp", "fd"));
  ASSERT_NE(find_mode("precopy"), nullptr);
  EXPECT_EQ(find_mode("no-such-mode"), nullptr);
  for (const Mode& mode : modes()) {
    EXPECT_EQ(find_mode(mode.name), &mode) << "named twice";
    EXPECT_FALSE(mode.summary.empty());
    for (const auto& transport : mode.transports) EXPECT_THAT(transport_names(), Contains(transport));
  }
}

}  // namespace
}  // namespace migsoak::ops
