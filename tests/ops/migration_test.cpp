// Each mode over VMs without a process: what comes of a migration, and who has the guest then.
#include <gmock/gmock.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "fake_vm/fake_driver.h"
#include "ops/modes/mode.h"
#include "ops/told.h"
#include "store/scratch.h"

namespace migsoak::ops {
namespace {

using base::Deadline;
using fake_vm::Answer;
using hypervisor::Machine;
using hypervisor::MachineSpec;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

Deadline within(milliseconds time) {
  return Deadline::in(time);
}

// A migration from side "a" to side "b", with the engine's part played by the test.
class FakeMigration : public ::testing::TestWithParam<std::string> {
 protected:
  FakeMigration() {
    told_.on_reached = [this](MigrationPhase phase) {
      phases_.push_back(phase);
      if (on_phase_) on_phase_(phase);
    };
    told_.on_settings = [this](End end, const SentSettings& sent) {
      base::Json& known = settings_[to_string(end)];
      EXPECT_TRUE(known.is_null()) << "told twice";
      known = {{"capabilities", sent.capabilities}, {"parameters", sent.parameters}};
    };
    told_.on_channel = [this](const base::Json& arguments) {
      EXPECT_TRUE(channel_.is_null()) << "told twice";
      EXPECT_THAT(driver_.commands("a"), Not(Contains("migrate"))) << "told before the source is";
      channel_ = arguments;
    };
    told_.on_started = [this] {
      EXPECT_TRUE(channel_.is_object());
      if (on_started_) on_started_();
    };
    told_.on_release = [this]() -> base::Result<void> {
      MIGSOAK_TRY(source_->quit(within(seconds(10))));
      source_.reset();
      return {};
    };
    told_.on_raise = [this](Deadline by) -> base::Result<Machine*> {
      if (order() == ProcessOrder::afterwards) {
        MIGSOAK_ASSIGN(destination_, driver_.start(next_));
      } else if (order() == ProcessOrder::in_place) {
        MIGSOAK_ASSIGN(destination_, driver_.take_over(*source_, next_));
        source_.reset();
      }
      MIGSOAK_TRY(destination_->wait_ready(by));
      return destination_.get();
    };
  }

  const Mode& mode() const { return *find_mode(GetParam()); }
  ProcessOrder order() const { return mode().needs.process_order; }
  bool in_place() const { return order() == ProcessOrder::in_place; }
  // The source is there, and in the way, until the destination runs the guest.
  bool source_stays() const { return order() == ProcessOrder::beside || order() == ProcessOrder::waiting; }

  MachineSpec spec(const std::string& side) const {
    MachineSpec spec;
    spec.side = spec.instance = side;
    spec.run_dir = directory_.path();
    spec.version = "11.1.0";
    return spec;
  }

  MigrationOutcome run(Deadline deadline = within(seconds(20))) {
    source_ = *driver_.start(spec("a"));
    EXPECT_TRUE(source_->wait_ready(within(seconds(10))));
    next_ = spec("b");
    next_.incoming = true;
    const MigrationChannels channels{
        "unix", directory_.path(), "m", directory_.file("b.m"), directory_.file("b.x"), directory_.file("b.state")};
    if (order() == ProcessOrder::waiting) {
      next_.incoming_channels = cpr_incoming(channels.main_socket, channels.cpr_socket);
    }
    if (in_place()) {
      next_.incoming_channels = {"file:" + channels.state_file};
      EXPECT_TRUE(source_->set_exec(next_));
    }
    if (source_stays()) destination_ = *driver_.start(next_);
    if (order() == ProcessOrder::beside) {
      EXPECT_TRUE(destination_->wait_ready(within(seconds(10))));
    }
    MigrationContext context{reactor_, told_, source_.get(), destination_.get(), channels, deadline};
    return mode().run(context);
  }

  const scratch::Directory directory_;
  proc::StopRequest stop_;
  proc::Reactor reactor_{&stop_};
  fake_vm::FakeDriver driver_{reactor_};
  Told told_;
  std::function<void()> on_started_;
  std::function<void(MigrationPhase)> on_phase_;
  std::vector<MigrationPhase> phases_;
  base::Json settings_, channel_;  // as told, by end
  MachineSpec next_;
  std::unique_ptr<Machine> source_, destination_;
};

TEST_P(FakeMigration, BringsTheGuestOver) {
  const MigrationOutcome outcome = run();
  ASSERT_EQ(outcome.result, MigrationResult::completed) << outcome.error;
  EXPECT_EQ(outcome.error, "");
  EXPECT_EQ(driver_.guest_side(), "b");
  EXPECT_TRUE(driver_.guest_runs());
  EXPECT_FALSE(std::filesystem::exists(directory_.file("b.state")));
  EXPECT_THAT(phases_, Contains(MigrationPhase::active));
  EXPECT_EQ(phases_.back(), MigrationPhase::completed);
  EXPECT_TRUE(std::is_sorted(phases_.begin(), phases_.end()));
  EXPECT_EQ(std::adjacent_find(phases_.begin(), phases_.end()), phases_.end());
}

TEST_P(FakeMigration, TellsWhatItSetsAndWhatItGoesOver) {
  ASSERT_EQ(run().result, MigrationResult::completed);
  const bool ignores_shared = GetParam() == "local" || GetParam() == "cpr-reboot";
  const std::string mode = GetParam().starts_with("cpr-") ? GetParam() : "normal";
  const base::Json expected = {{"capabilities", {{"x-ignore-shared", ignores_shared}}},
                               {"parameters", {{"mode", mode}}}};
  EXPECT_EQ(settings_["source"], expected);
  // One that answers only with the guest in it has been sent none.
  const bool is_sent = order() == ProcessOrder::beside || order() == ProcessOrder::afterwards;
  EXPECT_EQ(settings_["destination"], is_sent ? expected : base::Json());
  if (order() == ProcessOrder::waiting) {
    ASSERT_EQ(channel_["channels"].size(), 2U);
    EXPECT_EQ(channel_["channels"][1]["addr"]["path"], directory_.file("b.x"));
  } else if (order() == ProcessOrder::beside) {
    EXPECT_TRUE(channel_["uri"].get<std::string>().starts_with("unix:" + directory_.path())) << channel_;
  } else {
    EXPECT_EQ(channel_["uri"], "file:" + directory_.file("b.state"));
  }
}

TEST_P(FakeMigration, ASourceThatFailsKeepsTheGuest) {
  driver_.migrations_pass({"setup", "active", "failed"});
  const MigrationOutcome outcome = run();
  EXPECT_EQ(outcome.result, MigrationResult::failed) << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("it was to fail"));
  EXPECT_TRUE(outcome.source_runs);
  EXPECT_EQ(driver_.guest_side(), "a");
  EXPECT_THAT(phases_, Not(Contains(MigrationPhase::completed)));
}

TEST_P(FakeMigration, ARefusedCommandIsAFailureAndTheGuestRunsOn) {
  driver_.on_command([](const std::string&, const std::string& command) {
    return command == "migrate" ? Answer::refuse : Answer::as_ever;
  });
  const MigrationOutcome outcome = run();
  EXPECT_EQ(outcome.result, MigrationResult::failed) << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("GenericError: migrate is refused"));
  EXPECT_TRUE(outcome.source_runs);
  EXPECT_TRUE(driver_.guest_runs());
}

TEST_P(FakeMigration, ASettingThatIsRefusedIsAFailureBeforeAnythingBegins) {
  driver_.on_command([](const std::string& side, const std::string& command) {
    return side == "a" && command == "migrate-set-capabilities" ? Answer::refuse : Answer::as_ever;
  });
  const MigrationOutcome outcome = run();
  EXPECT_EQ(outcome.result, MigrationResult::failed) << outcome.error;
  EXPECT_TRUE(settings_["source"].is_object()) << "what is refused was sent";
  EXPECT_TRUE(channel_.is_null());
  EXPECT_THAT(driver_.commands("a"), Not(Contains("migrate")));
  EXPECT_TRUE(driver_.guest_runs());
}

TEST_P(FakeMigration, ASourceThatDiesIsLostWithItsGuest) {
  on_started_ = [this] { driver_.end_soon("a", {-1, SIGSEGV, true}); };
  const MigrationOutcome outcome = run();
  EXPECT_EQ(outcome.result, MigrationResult::source_lost) << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("SIGSEGV"));
  EXPECT_FALSE(outcome.source_runs);
  EXPECT_FALSE(driver_.guest_runs());
}

// The destination is there beside the source.
class FakeLiveMigration : public FakeMigration {};
// It comes when the source has saved its state.
class FakeSavedMigration : public FakeMigration {};

TEST_P(FakeLiveMigration, ADestinationThatDiesWhileTheSourceSendsLeavesItTheGuest) {
  driver_.migrations_pass({"setup", "active"});
  on_phase_ = [this](MigrationPhase phase) {
    if (phase == MigrationPhase::active) driver_.end("b", {-1, SIGABRT, true});
  };
  const MigrationOutcome outcome = run();
  EXPECT_EQ(outcome.result, MigrationResult::destination_lost) << outcome.error;
  ASSERT_TRUE(outcome.destination_exit);
  EXPECT_EQ(outcome.destination_exit->signal, SIGABRT);
  EXPECT_TRUE(outcome.source_runs);
  EXPECT_EQ(driver_.guest_side(), "a");
}

TEST_P(FakeMigration, ADestinationThatRefusesTheState) {
  driver_.refuse_load({1, 0, false}, "error while loading state for instance 0x0 of device 'ram'");
  const MigrationOutcome outcome = run();
  const auto lost = in_place() ? MigrationResult::source_lost : MigrationResult::destination_lost;
  EXPECT_EQ(outcome.result, lost) << outcome.error;
  if (source_stays()) {
    EXPECT_THAT(outcome.error, HasSubstr("error while loading state"));
    EXPECT_TRUE(outcome.source_runs);
    EXPECT_EQ(driver_.guest_side(), "a");
  }
  // All that is left of the guest, where the source has gone.
  EXPECT_EQ(std::filesystem::exists(directory_.file("b.state")), order() == ProcessOrder::afterwards);
}

TEST_P(FakeMigration, OneThatNeverEndsIsAHangAndSaysWhatItWaitsFor) {
  driver_.migrations_pass({"setup", "active"});
  const MigrationOutcome outcome = run(within(milliseconds(400)));
  EXPECT_EQ(outcome.result, MigrationResult::hang) << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("source status active"));
  EXPECT_TRUE(driver_.guest_runs());
}

TEST_P(FakeMigration, ASourceThatDoesNotAnswerIsAHang) {
  driver_.on_command([](const std::string&, const std::string& command) {
    return command == "query-status" ? Answer::stay_silent : Answer::as_ever;
  });
  const MigrationOutcome outcome = run(within(milliseconds(300)));
  EXPECT_EQ(outcome.result, MigrationResult::hang) << outcome.error;
}

TEST_P(FakeMigration, WhatTheUserStoppedHasNoResult) {
  driver_.migrations_pass({"setup", "active"});
  on_started_ = [this] {
    while (stop_.level() < 2) stop_.raise();
  };
  EXPECT_TRUE(run().interrupted);
}

TEST_P(FakeSavedMigration, ANewProcessThatDiesBeforeItAnswers) {
  if (in_place()) {
    driver_.refuse_exec({127, 0, false});
  } else {
    told_.on_raise = [this](Deadline by) -> base::Result<Machine*> {
      MIGSOAK_ASSIGN(destination_, driver_.start(next_));
      driver_.end("b", {1, 0, false});
      MIGSOAK_TRY(destination_->wait_ready(by));
      return destination_.get();
    };
  }
  const MigrationOutcome outcome = run();
  EXPECT_EQ(outcome.result, in_place() ? MigrationResult::source_lost : MigrationResult::destination_lost)
      << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr(in_place() ? "exit status 127" : "exit status 1"));
  EXPECT_FALSE(driver_.guest_runs());
}

TEST_P(FakeSavedMigration, ANewProcessThatNeverAnswersIsAHang) {
  on_started_ = [this] { driver_.next_never_answers(); };
  const MigrationOutcome outcome = run(within(milliseconds(500)));
  EXPECT_EQ(outcome.result, MigrationResult::hang) << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("never answered on QMP"));
}

std::string mode_word(const ::testing::TestParamInfo<std::string>& tested) {
  std::string word = tested.param;
  std::replace(word.begin(), word.end(), '-', '_');
  return word;
}

const auto kLive = ::testing::Values("precopy", "local", "cpr-transfer");
const auto kSaved = ::testing::Values("cpr-reboot", "cpr-exec");

INSTANTIATE_TEST_SUITE_P(Live, FakeMigration, kLive, mode_word);
INSTANTIATE_TEST_SUITE_P(Saved, FakeMigration, kSaved, mode_word);
INSTANTIATE_TEST_SUITE_P(Live, FakeLiveMigration, kLive, mode_word);
INSTANTIATE_TEST_SUITE_P(Saved, FakeSavedMigration, kSaved, mode_word);

// The lists above leave out no mode.
TEST(FakeMigrations, AreTriedInEveryMode) {
  EXPECT_EQ(modes().size(), 5U);
}

}  // namespace
}  // namespace migsoak::ops
