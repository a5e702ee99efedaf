// Restarts of a driver's daemon under a guest, over VMs and daemons without processes: who is blamed for one that does
// not come back, and what goes on record.
#include <gmock/gmock.h>

#include <algorithm>
#include <csignal>
#include <string>
#include <tuple>

#include "engine/fake_lineage.h"

namespace migsoak::engine {
namespace {

using base::ErrorKind;
using base::Result;
using record::IterationStatus;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// The guest boots on "a" and goes to "b"; the next iteration restarts a daemon.
class DaemonRestartTest : public FakeLineage, public ::testing::Test {
 protected:
  void SetUp() override {
    fake_->have_daemons({"a", "b"});
    ASSERT_EQ(iterate().status, IterationStatus::completed);
    scenario_.deadline.answer_s = scenario_.deadline.quit_s = 1;
  }
  record::Observation iterate_with(const std::string& side, const std::string& how = "kill") {
    adjust_ = [=](record::Plan& plan) { plan.restarts = {{"", how, "between", "recovers", side}}; };
    return iterate();
  }
  static base::Json detail_of(const record::Observation& observation) {
    const record::Event* event = event_of(observation, record::event_kind::kExpectedTrouble);
    return event != nullptr ? event->detail : base::Json::object();
  }
  static std::string text_of(const record::Observation& observation, const std::string& kind) {
    const record::Event* event = event_of(observation, kind);
    return event != nullptr ? event->text : "";
  }
};

class DaemonOf : public DaemonRestartTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(DaemonOf, ASideThatComesBackIsAnotherProcessAndTheGuestMigrates) {
  for (const auto& [how, signal] : {std::pair{"kill", "SIGKILL"}, std::pair{"graceful", "SIGTERM"}}) {
    const std::string before = fake_->guest_side();
    const record::Observation observation = iterate_with(GetParam(), how);
    EXPECT_EQ(observation.status, IterationStatus::completed) << how;
    EXPECT_THAT(events_of(observation), ElementsAre("expected-trouble libvirtd:" + GetParam()));
    EXPECT_EQ(detail_of(observation)["result"], "recovered");
    EXPECT_EQ(detail_of(observation)["seen"], "as-declared");
    EXPECT_THAT(detail_of(observation)["allows"], IsEmpty()) << "it serves no disk";
    EXPECT_EQ(fake_->daemon(GetParam()).stops.back(), signal);
    const std::string name = "libvirtd:" + GetParam();
    EXPECT_EQ(std::count_if(observation.processes_born.begin(), observation.processes_born.end(),
                            [&](const auto& born) { return born.name == name; }),
              1);
    EXPECT_TRUE(std::all_of(observation.processes_ended.begin(), observation.processes_ended.end(),
                            [](const auto& end) { return end.expected; }));
    EXPECT_NE(fake_->guest_side(), before);
    EXPECT_THAT(findings_of(observation), IsEmpty());
  }
}

TEST_P(DaemonOf, ASideThatEndsAgainIsBlamedForIt) {
  fake_->daemon(GetParam()).on_rejoin = [this]() -> Result<void> {
    fake_->daemon(GetParam()).end({9, 0, false});
    return base::fail(ErrorKind::subject, "it ended at its start");
  };
  const record::Observation observation = iterate_with(GetParam());
  EXPECT_EQ(observation.status, IterationStatus::lost);
  EXPECT_THAT(events_of(observation),
              ElementsAre("unexpected-exit libvirtd:" + GetParam(), "expected-trouble libvirtd:" + GetParam()));
  EXPECT_EQ(detail_of(observation)["result"], "lost");
  EXPECT_EQ(detail_of(observation)["seen"], "otherwise");
  EXPECT_TRUE(fake_->guest_runs());
  EXPECT_THAT(findings_of(observation), ElementsAre("crash libvirtd:" + GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Sides, DaemonOf, ::testing::Values("a", "b"), [](const auto& tested) { return tested.param; });

TEST_F(DaemonRestartTest, OneThatDoesNotKnowItsDomainAnyMoreIsBlamed) {
  fake_->daemon("b").on_rejoin = []() -> Result<void> {
    return base::fail(ErrorKind::subject, "look-up of the domain: Domain not found");
  };
  const record::Observation observation = iterate_with("b");
  EXPECT_EQ(observation.status, IterationStatus::lost);
  EXPECT_THAT(events_of(observation), ElementsAre("unexpected-exit libvirtd:b", "expected-trouble libvirtd:b"));
  EXPECT_THAT(text_of(observation, record::event_kind::kUnexpectedExit), HasSubstr("Domain not found"));
  EXPECT_EQ(detail_of(observation)["result"], "not-reconnected");
  EXPECT_TRUE(fake_->guest_runs());
  EXPECT_THAT(findings_of(observation), ElementsAre("crash libvirtd:b"));
}

TEST_F(DaemonRestartTest, OneThatDoesNotAnswerByItsDeadlineHangs) {
  fake_->daemon("b").on_rejoin = []() -> Result<void> { return base::fail(ErrorKind::timeout, "it made no socket"); };
  const record::Observation observation = iterate_with("b", "graceful");
  EXPECT_EQ(observation.status, IterationStatus::lost);
  EXPECT_THAT(events_of(observation), ElementsAre("hang libvirtd:b", "expected-trouble libvirtd:b"));
  EXPECT_THAT(text_of(observation, record::event_kind::kHang),
              HasSubstr("answer of libvirtd:b after its restart (graceful, between migrations)"));
  EXPECT_EQ(detail_of(observation)["result"], "lost");
}

TEST_F(DaemonRestartTest, OneThatDoesNotEndWhenAskedHangsAndIsKilled) {
  fake_->daemon("a").ends_when_asked = false;
  const record::Observation observation = iterate_with("a", "graceful");
  EXPECT_EQ(observation.status, IterationStatus::completed);
  EXPECT_THAT(events_of(observation), ElementsAre("hang libvirtd:a", "expected-trouble libvirtd:a"));
  EXPECT_THAT(fake_->daemon("a").stops, ElementsAre("SIGTERM", "SIGKILL"));
  EXPECT_EQ(detail_of(observation)["result"], "recovered");
}

TEST_F(DaemonRestartTest, OneThatCanNotBeStartedAgainIsTheEnvironments) {
  fake_->daemon("a").on_start = []() -> Result<void> {
    return base::fail(ErrorKind::environment, "no memory for a process");
  };
  const record::Observation observation = iterate_with("a");
  EXPECT_EQ(observation.status, IterationStatus::unknown);
  EXPECT_EQ(result_, StepResult::harness_failed);
  EXPECT_THAT(events_of(observation), Not(Contains(HasSubstr("unexpected-exit"))));
}

TEST_F(DaemonRestartTest, AGuestThatFallsSilentWithItHangs) {
  fake_->daemon("b").on_rejoin = [this]() -> Result<void> {
    fake_->silence_guest();
    return {};
  };
  const record::Observation observation = iterate_with("b");
  EXPECT_EQ(observation.status, IterationStatus::lost);
  EXPECT_THAT(events_of(observation), Contains("hang guest"));
  EXPECT_THAT(text_of(observation, record::event_kind::kHang), HasSubstr("heartbeat of the guest after the restart"));
}

// One that was not asked to end is no part of what was planned.
TEST_F(DaemonRestartTest, TheOtherOnesEndIsACrash) {
  fake_->daemon("a").on_rejoin = [this]() -> Result<void> {
    fake_->daemon("b").end({-1, SIGSEGV, true});
    return {};
  };
  const record::Observation observation = iterate_with("a");
  EXPECT_EQ(observation.status, IterationStatus::lost);
  EXPECT_THAT(findings_of(observation), ElementsAre("crash libvirtd:b"));
}

}  // namespace
}  // namespace migsoak::engine
