// Restarts of a target under a guest, over VMs and a target without processes: what is waited for, who is blamed when
// it does not come, and what goes on record.
#include "engine/restart_steps.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <csignal>
#include <string>
#include <vector>

#include "engine/fake_lineage.h"
#include "engine/fake_target.h"

namespace migsoak::engine {
namespace {

using base::ErrorKind;
using base::Result;
using fake_vm::Answer;
using record::IterationStatus;
using target::StopHow;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const char* const kTrouble = "expected-trouble target:disk0";

// The guest boots on "a" and goes to "b"; then it has a target, which the next iteration restarts.
class RestartStepsTest : public FakeLineage, public ::testing::Test {
 protected:
  void SetUp() override {
    record::Observation first = iterate();
    ASSERT_EQ(first.status, IterationStatus::completed);
    auto made = std::make_unique<FakeTarget>("disk0", "", directory_.file("run"));
    target_ = made.get();
    record::Journal journal(first);
    lineage_->targets().note_started(lineage_->targets().hold(std::move(made), {}), journal);
    target_->listen_and_connect();
    ASSERT_TRUE(target_->connected());
    scenario_.deadline.answer_s = scenario_.deadline.quit_s = 1;
  }

  record::Observation iterate_with(const std::string& timing, const std::string& how = "graceful",
                                   StepHook* hook = nullptr) {
    adjust_ = [=](record::Plan& plan) { plan.restarts = {{"disk0", how, timing, "recovers"}}; };
    return iterate("precopy", hook);
  }
  // Its QEMUs don't come back of themselves.
  void come_back_alone() {
    target_->on_start = []() -> Result<void> { return {}; };
  }
  static base::Json detail_of(const record::Observation& observation) {
    const record::Event* event = event_of(observation, record::event_kind::kExpectedTrouble);
    return event != nullptr ? event->detail : base::Json::object();
  }
  static std::string text_of(const record::Observation& observation, const std::string& kind) {
    const record::Event* event = event_of(observation, kind);
    return event != nullptr ? event->text : "";
  }

  FakeTarget* target_ = nullptr;
};

class RestartAt : public RestartStepsTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(RestartAt, ATargetThatComesBackGoesOnRecordAndTheGuestGoesOn) {
  const record::Observation observation = iterate_with(GetParam());
  EXPECT_EQ(observation.status, IterationStatus::completed);
  EXPECT_THAT(events_of(observation), ElementsAre(kTrouble));
  EXPECT_EQ(detail_of(observation)["result"], "recovered");
  EXPECT_EQ(detail_of(observation)["seen"], "as-declared");
  EXPECT_THAT(target_->stops, ElementsAre(StopHow::graceful));
  const auto of_target = [](const auto& born) { return born.name == "target:disk0"; };
  EXPECT_EQ(std::count_if(observation.processes_born.begin(), observation.processes_born.end(), of_target), 1);
  EXPECT_TRUE(std::any_of(observation.processes_ended.begin(), observation.processes_ended.end(),
                          [](const auto& end) { return end.expected && end.exit_code == 0; }));
  EXPECT_EQ(fake_->guest_side(), "a");
  EXPECT_THAT(findings_of(observation), IsEmpty());
}

TEST_P(RestartAt, ATargetThatEndsAgainIsBlamedForIt) {
  target_->on_wait = [this]() -> Result<void> {
    target_->end({1, 0, false});
    return base::fail(ErrorKind::subject, "target:disk0 ended before it listened (exit status 1)");
  };
  const record::Observation observation = iterate_with(GetParam());
  EXPECT_EQ(observation.status, IterationStatus::lost);
  EXPECT_THAT(events_of(observation), ElementsAre("unexpected-exit target:disk0", kTrouble));
  EXPECT_EQ(detail_of(observation)["result"], "lost");
  EXPECT_EQ(detail_of(observation)["seen"], "otherwise");
  EXPECT_THAT(findings_of(observation), Contains("crash target:disk0"));
}

TEST_P(RestartAt, ATargetThatIsNotBackByItsDeadlineHangs) {
  target_->on_wait = []() -> Result<void> { return base::fail(ErrorKind::timeout, "it does not listen"); };
  const record::Observation observation = iterate_with(GetParam());
  EXPECT_EQ(observation.status, IterationStatus::lost);
  EXPECT_THAT(events_of(observation), ElementsAre("hang target:disk0", kTrouble));
  EXPECT_THAT(text_of(observation, record::event_kind::kHang), HasSubstr("listening socket of target:disk0"));
  EXPECT_EQ(detail_of(observation)["result"], "lost");
}

INSTANTIATE_TEST_SUITE_P(Timings, RestartAt, ::testing::Values("between", "before", "during", "after"),
                         [](const auto& tested) { return tested.param; });

TEST_F(RestartStepsTest, AKilledOneIsNotAskedFirst) {
  const record::Observation observation = iterate_with("between", "kill");
  EXPECT_EQ(observation.status, IterationStatus::completed);
  EXPECT_THAT(target_->stops, ElementsAre(StopHow::kill));
  EXPECT_EQ(detail_of(observation)["result"], "recovered");
}

TEST_F(RestartStepsTest, OneThatDoesNotEndWhenAskedHangsAndIsKilled) {
  target_->ignore_terminate();
  const record::Observation observation = iterate_with("between");
  EXPECT_EQ(observation.status, IterationStatus::completed);
  EXPECT_THAT(events_of(observation), ElementsAre("hang target:disk0", kTrouble));
  EXPECT_THAT(text_of(observation, record::event_kind::kHang), HasSubstr("did not end after SIGTERM and is killed"));
  EXPECT_THAT(target_->stops, ElementsAre(StopHow::graceful, StopHow::kill));
  EXPECT_EQ(detail_of(observation)["result"], "recovered");
}

TEST_F(RestartStepsTest, OneThatCanNotBeStartedAgainIsTheEnvironments) {
  target_->on_start = []() -> Result<void> { return base::fail(ErrorKind::environment, "no memory for a process"); };
  const record::Observation observation = iterate_with("between");
  EXPECT_EQ(observation.status, IterationStatus::unknown);
  EXPECT_EQ(result_, StepResult::harness_failed);
  EXPECT_THAT(events_of(observation), Contains("harness-error harness"));
  EXPECT_THAT(events_of(observation), Not(Contains(HasSubstr("unexpected-exit"))));
}

TEST_F(RestartStepsTest, AQemuThatDoesNotConnectAgainIsToldByName) {
  come_back_alone();
  const record::Observation observation = iterate_with("between");
  EXPECT_EQ(observation.status, IterationStatus::lost);
  EXPECT_THAT(events_of(observation), ElementsAre("unexpected-exit qemu:b", kTrouble));
  EXPECT_THAT(text_of(observation, record::event_kind::kUnexpectedExit),
              HasSubstr("qemu:b did not connect to target:disk0 again within 1 s"));
  EXPECT_EQ(detail_of(observation)["result"], "not-reconnected");
}

TEST_F(RestartStepsTest, OneThatEndsWhileItsClientsAreWaitedForIsBlamed) {
  come_back_alone();
  target_->on_wait = [this]() -> Result<void> {
    target_->end({-1, SIGSEGV, true});
    return {};
  };
  const record::Observation observation = iterate_with("between");
  EXPECT_EQ(observation.status, IterationStatus::lost);
  EXPECT_THAT(events_of(observation), ElementsAre("unexpected-exit target:disk0", kTrouble));
  EXPECT_THAT(base::json_get<std::string>(detail_of(observation), "why", ""), HasSubstr("ended again"));
}

TEST_F(RestartStepsTest, AQemuThatCrashesDuringTheWaitIsLostWithItsGuest) {
  target_->on_start = [this]() -> Result<void> {
    fake_->end_soon("b", {-1, SIGSEGV, true});
    return {};
  };
  const record::Observation observation = iterate_with("between");
  EXPECT_EQ(observation.status, IterationStatus::lost);
  EXPECT_THAT(events_of(observation), ElementsAre("unexpected-exit qemu:b", "guest-lost guest", kTrouble));
  EXPECT_THAT(findings_of(observation), Contains("crash qemu:b"));
}

TEST_F(RestartStepsTest, WhatTheUserStoppedIsUnknown) {
  target_->on_start = [this]() -> Result<void> {
    while (stop_.level() < 2) stop_.raise();
    return {};
  };
  EXPECT_EQ(iterate_with("between").status, IterationStatus::unknown);
  EXPECT_EQ(result_, StepResult::interrupted);
}

// ---- during the migration

TEST_F(RestartStepsTest, TheMigrationIsHeldForItAndThenLetGo) {
  const record::Observation observation = iterate_with("during");
  EXPECT_EQ(observation.status, IterationStatus::completed);
  std::vector<std::string> commands;
  for (const std::string& command : fake_->commands("b")) {
    const bool of_hold = command == "query-migrate-parameters" || command == "migrate-set-parameters" ||
                         command == "migrate" || command == "query-chardev";
    if (of_hold) commands.push_back(command);
  }
  ASSERT_GE(commands.size(), 5U);
  const std::vector<std::string> last(commands.end() - 6, commands.end());
  EXPECT_THAT(last, ElementsAre("query-migrate-parameters", "migrate-set-parameters", "migrate-set-parameters",
                                "migrate", "query-chardev", "migrate-set-parameters"))
      << "held, the mode's own setting, and full speed once the QEMU is back";
}

TEST_F(RestartStepsTest, AMigrationThatDoesNotGetUnderWayIsNotWaitedForWithoutEnd) {
  scenario_.deadline.migrate_s = 2;
  fake_->migrations_pass({"setup"});
  const record::Observation observation = iterate_with("during");
  EXPECT_EQ(observation.status, IterationStatus::lost);
  EXPECT_THAT(events_of(observation), ElementsAre("hang qemu:b", kTrouble));
  EXPECT_THAT(text_of(observation, record::event_kind::kHang), HasSubstr("migration under way"));
  EXPECT_EQ(detail_of(observation)["result"], record::kNotReached);
  EXPECT_THAT(target_->stops, IsEmpty());
}

TEST_F(RestartStepsTest, AMigrationThatHasFailedIsNotWaitedFor) {
  fake_->migrations_pass({"setup", "failed"});
  const record::Observation observation = iterate_with("during");
  EXPECT_EQ(observation.status, IterationStatus::failed);
  EXPECT_THAT(events_of(observation), Contains("migration-failed qemu:a"));
  EXPECT_THAT(events_of(observation), Not(Contains(HasSubstr("hang"))));
  EXPECT_EQ(fake_->guest_side(), "b");
}

TEST_F(RestartStepsTest, ASourceThatCrashesBeforeItIsLostWithItsGuest) {
  fake_->migrations_pass({"setup"});
  fake_->on_command([this](const std::string& side, const std::string& command) {
    if (side == "b" && command == "migrate") fake_->end_soon("b", {-1, SIGSEGV, true});
    return Answer::as_ever;
  });
  const record::Observation observation = iterate_with("during");
  EXPECT_EQ(observation.status, IterationStatus::lost);
  EXPECT_THAT(events_of(observation), Contains("unexpected-exit qemu:b"));
  EXPECT_THAT(events_of(observation), Not(Contains(HasSubstr("hang"))));
  EXPECT_THAT(target_->stops, IsEmpty());
}

}  // namespace
}  // namespace migsoak::engine
