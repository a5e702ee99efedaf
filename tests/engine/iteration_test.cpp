// Whole iterations over VMs without a process: what a table of steps comes to when something goes wrong in it, and who
// is blamed.
#include "engine/iteration.h"

#include <gmock/gmock.h>

#include <cctype>
#include <csignal>
#include <string>
#include <tuple>
#include <vector>

#include "engine/fake_lineage.h"
#include "engine/steps_of_all.h"

namespace migsoak::engine {
namespace {

using fake_vm::Answer;
using record::IterationStatus;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

bool comes_before(const std::string& step, const std::string& other) {
  const auto place = [](const std::string& name) {
    return std::find(std::begin(kStepsOfAll), std::end(kStepsOfAll), name) - std::begin(kStepsOfAll);
  };
  return place(step) < place(other);
}

class IterationTest : public FakeLineage, public ::testing::Test {};

TEST_F(IterationTest, RunsItsStepsInOrder) {
  ASSERT_EQ(iterate().status, IterationStatus::completed);
  StepHook hook;
  ASSERT_EQ(iterate("precopy", &hook).status, IterationStatus::completed);
  std::vector<std::string> steps;
  for (const std::string& step : hook.steps()) {
    if (std::find(steps.begin(), steps.end(), step) == steps.end()) steps.push_back(step);
  }
  EXPECT_EQ(steps, std::vector<std::string>(std::begin(kStepsOfAll), std::end(kStepsOfAll)));
}

TEST_F(IterationTest, CleanOnesAreQuietAndTellOfEachPhase) {
  for (int i = 0; i < 4; ++i) {
    const record::Observation observation = iterate();
    ASSERT_EQ(observation.status, IterationStatus::completed);
    EXPECT_THAT(events_of(observation), IsEmpty());
    std::vector<std::string> phases;
    double last_ms = 0;
    for (const record::Sample& sample : observation.samples) {
      if (sample.subject != "migration" || !sample.metric.starts_with("phase_")) continue;
      phases.push_back(sample.metric);
      EXPECT_GE(sample.value, last_ms);
      last_ms = sample.value;
    }
    EXPECT_THAT(phases, ElementsAre("phase_setup_ms", "phase_active_ms", "phase_device_ms", "phase_completed_ms"));
    EXPECT_THAT(findings_of(observation), IsEmpty());
  }
  EXPECT_EQ(recorder_->verdict(), record::Verdict::pass);
}

TEST_F(IterationTest, ASilentGuestOnItsDestinationIsAHangOfTheGuest) {
  ASSERT_EQ(iterate().status, IterationStatus::completed);
  scenario_.deadline.answer_s = 1;
  StepHook hook;
  hook.at("migrate", StepHook::When::before, [this] { fake_->silence_guest(); });
  const record::Observation observation = iterate("precopy", &hook);
  EXPECT_EQ(observation.status, IterationStatus::lost);
  EXPECT_THAT(events_of(observation), ElementsAre("hang guest"));
  EXPECT_THAT(findings_of(observation), ElementsAre("hang guest"));
}

TEST_F(IterationTest, AGuestThatNeverComesUpIsLost) {
  scenario_.deadline.boot_s = 1;
  fake_->silence_guest();
  const record::Observation observation = iterate();
  EXPECT_EQ(observation.status, IterationStatus::lost);
  EXPECT_THAT(events_of(observation), ElementsAre("hang guest"));
}

TEST_F(IterationTest, AMigrationWithoutEndIsAHangOfItsSource) {
  ASSERT_EQ(iterate().status, IterationStatus::completed);
  scenario_.deadline.migrate_s = 1;
  fake_->migrations_pass({"setup", "active"});
  const record::Observation observation = iterate();
  EXPECT_EQ(observation.status, IterationStatus::lost);
  EXPECT_THAT(events_of(observation), ElementsAre("hang qemu:b"));
  EXPECT_THAT(event_of(observation, "hang")->text, HasSubstr("source status active"));
}

TEST_F(IterationTest, ASourceThatHangsIsToldFromAGuestThatDoes) {
  ASSERT_EQ(iterate().status, IterationStatus::completed);
  scenario_.deadline.migrate_s = scenario_.deadline.answer_s = 1;
  StepHook hook;
  hook.at("migrate", StepHook::When::before, [this] { fake_->hang("b"); });
  const record::Observation observation = iterate("precopy", &hook);
  EXPECT_EQ(observation.status, IterationStatus::lost);
  EXPECT_THAT(events_of(observation), ElementsAre("hang qemu:b"));
}

TEST_F(IterationTest, AFailedMigrationStaysOnItsSourceAndTheNextOneGoesThrough) {
  ASSERT_EQ(iterate().status, IterationStatus::completed);
  fake_->migrations_pass({"setup", "active", "failed"});
  const record::Observation failed = iterate();
  EXPECT_EQ(failed.status, IterationStatus::failed);
  EXPECT_EQ(result_, StepResult::stays_on_source);
  EXPECT_THAT(events_of(failed), ElementsAre("migration-failed qemu:a"));
  const base::Json& detail = event_of(failed, record::event_kind::kMigrationFailed)->detail;
  EXPECT_EQ(detail["settings"]["source"]["parameters"]["mode"], "normal");
  EXPECT_EQ(detail["settings"]["destination"], detail["settings"]["source"]);
  EXPECT_THAT(detail["channel"]["uri"].get<std::string>(), HasSubstr("unix:"));
  EXPECT_EQ(fake_->guest_side(), "b");
  EXPECT_THAT(lineage_->vms(), SizeIs(1)) << "nothing is left of the attempt";
  fake_->migrations_pass({"setup", "active", "device", "completed"});
  EXPECT_EQ(iterate().status, IterationStatus::completed);
  EXPECT_EQ(fake_->guest_side(), "a");
}

TEST_F(IterationTest, ARefusalThatWasDeclaredIsNoFailure) {
  ASSERT_EQ(iterate().status, IterationStatus::completed);
  fake_->refuse_load({1, 0, false}, "qemu: error while loading state");
  const record::Observation observation = iterate("precopy", nullptr, record::kExpectRefused);
  EXPECT_EQ(observation.status, IterationStatus::failed);
  EXPECT_THAT(events_of(observation), Contains(HasSubstr(record::event_kind::kExpectedTrouble)));
  EXPECT_THAT(events_of(observation), Not(Contains(HasSubstr("migration-failed"))));
  EXPECT_THAT(events_of(observation), Not(Contains(HasSubstr("unexpected-exit"))));
  EXPECT_TRUE(fake_->guest_runs());
}

TEST_F(IterationTest, ASignalIsNoDeclaredRefusal) {
  ASSERT_EQ(iterate().status, IterationStatus::completed);
  fake_->refuse_load({-1, SIGSEGV, true}, "boom");
  const record::Observation observation = iterate("precopy", nullptr, record::kExpectRefused);
  EXPECT_EQ(observation.status, IterationStatus::failed);
  EXPECT_THAT(events_of(observation), Contains("migration-failed qemu:a"));
  EXPECT_THAT(events_of(observation), Contains("unexpected-exit qemu:a"));
}

TEST_F(IterationTest, WhatTheUserStoppedIsUnknown) {
  ASSERT_EQ(iterate().status, IterationStatus::completed);
  StepHook hook;
  hook.at("verify the guest", StepHook::When::before, [this] {
    while (stop_.level() < 2) stop_.raise();
  });
  EXPECT_EQ(iterate("precopy", &hook).status, IterationStatus::unknown);
  EXPECT_EQ(result_, StepResult::interrupted);
}

TEST_F(IterationTest, AQemuThatCanNotBeStartedIsTheEnvironments) {
  ASSERT_EQ(iterate().status, IterationStatus::completed);
  fake_->fail_next_start({base::ErrorKind::environment, "no memory for a process", {}});
  const record::Observation observation = iterate();
  EXPECT_EQ(observation.status, IterationStatus::unknown);
  EXPECT_EQ(result_, StepResult::harness_failed);
  EXPECT_THAT(events_of(observation), ElementsAre("harness-error harness"));
}

TEST_F(IterationTest, AfterAnUpgradeThatFailsAsMeantTheGuestIsThereAndTheMigrationFollows) {
  ASSERT_EQ(iterate().status, IterationStatus::completed);
  adjust_ = [](record::Plan& plan) { plan.upgrade_failure = "missing-binary"; };
  fake_->fail_next_start({base::ErrorKind::environment, "no such file", {}});
  const record::Observation observation = iterate();
  EXPECT_EQ(observation.status, IterationStatus::completed);
  EXPECT_THAT(events_of(observation), ElementsAre("expected-trouble qemu:a"));
  const base::Json& detail = event_of(observation, record::event_kind::kExpectedTrouble)->detail;
  EXPECT_EQ(detail["fate"], "source");
  EXPECT_EQ(detail["how"], "kept-running");
  EXPECT_EQ(detail["intact"], true);
  EXPECT_EQ(detail["migrates"], true);
  EXPECT_EQ(fake_->guest_side(), "a");
}

TEST_F(IterationTest, AnUpgradeWhoseNewSideDiesIsUndoneByTheOldBuildStartedAgain) {
  ASSERT_EQ(iterate("cpr-reboot").status, IterationStatus::completed);
  adjust_ = [](record::Plan& plan) { plan.upgrade_failure = "device-init"; };
  int raised = 0;
  fake_->on_command([&](const std::string& side, const std::string& command) {
    // The new side is asked to load, for the first time.
    if (side == "a" && command == "migrate-incoming" && ++raised == 1) fake_->end("a", {1, 0, false});
    return Answer::as_ever;
  });
  const record::Observation observation = iterate("cpr-reboot");
  SCOPED_TRACE(::testing::PrintToString(events_of(observation)));
  const record::Event* attempt = event_of(observation, record::event_kind::kExpectedTrouble);
  ASSERT_NE(attempt, nullptr);
  EXPECT_EQ(attempt->detail["fate"], "source");
  EXPECT_EQ(attempt->detail["how"], "started-again");
  EXPECT_EQ(attempt->detail["migrates"], true);
  EXPECT_THAT(events_of(observation), ElementsAre("expected-trouble qemu:a"));
  EXPECT_EQ(observation.status, IterationStatus::completed);
}

TEST_F(IterationTest, DamagedMemoryIsCorruptionAndTheGuestGoesOn) {
  ASSERT_EQ(iterate().status, IterationStatus::completed);
  fake_->corrupt_guest();
  const record::Observation observation = iterate();
  EXPECT_EQ(observation.status, IterationStatus::completed);
  EXPECT_THAT(events_of(observation), ElementsAre("guest-corruption guest"));
}

// ---- every mode

class IterationInMode : public FakeLineage, public ::testing::TestWithParam<std::string> {};

TEST_P(IterationInMode, MovesTheGuestToAndFro) {
  for (const char* to : {"b", "a", "b"}) {
    const record::Observation observation = iterate(GetParam());
    ASSERT_EQ(observation.status, IterationStatus::completed) << ::testing::PrintToString(events_of(observation));
    EXPECT_THAT(events_of(observation), IsEmpty());
    EXPECT_EQ(fake_->guest_side(), to);
    EXPECT_THAT(lineage_->vms(), SizeIs(1));
    EXPECT_THAT(findings_of(observation), IsEmpty());
  }
}

TEST_P(IterationInMode, TakesItsTurnAmongOthers) {
  for (const std::string& mode : {std::string("precopy"), GetParam(), std::string("precopy"), GetParam()}) {
    ASSERT_EQ(iterate(mode).status, IterationStatus::completed) << mode;
  }
}

TEST_P(IterationInMode, ASourceThatCrashesInItTakesTheGuestAlong) {
  ASSERT_EQ(iterate().status, IterationStatus::completed);
  fake_->on_command([this](const std::string&, const std::string& command) {
    if (command == "migrate") fake_->end_soon("b", {-1, SIGSEGV, true});
    return Answer::as_ever;
  });
  const record::Observation observation = iterate(GetParam());
  EXPECT_EQ(observation.status, IterationStatus::lost);
  EXPECT_THAT(events_of(observation), Contains("unexpected-exit qemu:b"));
  const record::Event* exit = event_of(observation, record::event_kind::kUnexpectedExit);
  ASSERT_NE(exit, nullptr);
  EXPECT_EQ(exit->detail["signal"], SIGSEGV);
  EXPECT_THAT(findings_of(observation), Contains("crash qemu:b"));
}

std::string mode_word(const ::testing::TestParamInfo<std::string>& tested) {
  std::string word = tested.param;
  std::replace(word.begin(), word.end(), '-', '_');
  return word;
}

INSTANTIATE_TEST_SUITE_P(Modes, IterationInMode,
                         ::testing::Values("precopy", "local", "cpr-reboot", "cpr-transfer", "cpr-exec"), mode_word);

// ---- a process that ends before, in and after each step

enum class At { before, during, after };

class EndAtStep : public FakeLineage, public ::testing::TestWithParam<std::tuple<std::string, At>> {
 protected:
  const std::string& step() const { return std::get<0>(GetParam()); }
  // The VM of that side ends with a crash there. The guest is on "b", and goes to "a".
  record::Observation iterate_with_end_of(const std::string& side) {
    EXPECT_EQ(iterate().status, IterationStatus::completed);
    const At when = std::get<1>(GetParam());
    StepHook hook;
    hook.at(step(), when == At::after ? StepHook::When::after : StepHook::When::before, [this, side, when] {
      const proc::ExitStatus crash{-1, SIGABRT, true};
      when == At::during ? fake_->end_soon(side, crash) : fake_->end(side, crash);
    });
    record::Observation observation = iterate("precopy", &hook);
    EXPECT_TRUE(hook.done());
    return observation;
  }
};

TEST_P(EndAtStep, OfTheDestinationIsBlamedOnItAndTheGuestIsWhereItWas) {
  const auto [step, when] = GetParam();
  const bool is_there = step != kStepsOfAll[0] || when != At::before;
  const record::Observation observation = iterate_with_end_of("a");
  const std::vector<std::string> events = events_of(observation);
  SCOPED_TRACE(::testing::PrintToString(events));
  if (!is_there) {
    // Whom the hook found on that side is nobody.
    EXPECT_EQ(observation.status, IterationStatus::completed);
    EXPECT_THAT(events, IsEmpty());
    return;
  }
  if (step == "sample" && when == At::during) {
    // It waits for nothing, so the end is noticed after the last look: the next iteration sees it.
    EXPECT_EQ(observation.status, IterationStatus::completed);
    const record::Observation next = iterate();
    EXPECT_EQ(next.status, IterationStatus::lost);
    EXPECT_THAT(events_of(next), ElementsAre("unexpected-exit qemu:a", "guest-lost guest"));
    return;
  }
  const bool has_guest = comes_before("migrate", step) || (step == "migrate" && when == At::after);
  if (!has_guest) {
    EXPECT_EQ(observation.status, IterationStatus::failed);
    EXPECT_EQ(fake_->guest_side(), "b");
    EXPECT_TRUE(fake_->guest_runs());
    EXPECT_THAT(lineage_->vms(), SizeIs(1));
  } else {
    EXPECT_EQ(lineage_->current(), nullptr);
  }
  EXPECT_EQ(std::count(events.begin(), events.end(), "unexpected-exit qemu:a"), 1);
  EXPECT_THAT(events, Not(Contains(HasSubstr("qemu:b"))));
  EXPECT_THAT(events, Not(Contains(HasSubstr("hang"))));
  EXPECT_THAT(findings_of(observation), Contains("crash qemu:a"));
  EXPECT_EQ(event_of(observation, record::event_kind::kGuestLost) != nullptr, has_guest);
}

TEST_P(EndAtStep, OfTheSourceIsBlamedOnItWhileItHasTheGuest) {
  const auto [step, when] = GetParam();
  const record::Observation observation = iterate_with_end_of("b");
  const std::vector<std::string> events = events_of(observation);
  SCOPED_TRACE(::testing::PrintToString(events));
  const bool has_guest = comes_before(step, "migrate") || (step == "migrate" && when != At::after);
  if (has_guest) {
    EXPECT_EQ(observation.status, IterationStatus::lost);
    EXPECT_EQ(std::count(events.begin(), events.end(), "unexpected-exit qemu:b"), 1);
    EXPECT_THAT(events, Contains("guest-lost guest"));
    const std::vector<std::string> findings = findings_of(observation);
    EXPECT_THAT(findings, Contains("crash qemu:b"));
    EXPECT_THAT(findings, Not(Contains("crash qemu:a")));
  } else {
    // It was asked to quit, or is gone.
    EXPECT_EQ(observation.status, IterationStatus::completed);
    EXPECT_THAT(events, IsEmpty());
    EXPECT_EQ(fake_->guest_side(), "a");
  }
  EXPECT_THAT(events, Not(Contains(HasSubstr("hang"))));
  EXPECT_THAT(events, Not(Contains("unexpected-exit qemu:a")));
}

std::string place_words(const ::testing::TestParamInfo<std::tuple<std::string, At>>& tested) {
  const auto& [step, when] = tested.param;
  std::string words = when == At::before ? "before_" : when == At::during ? "during_" : "after_";
  for (const char letter : step) {
    if (letter != '\'') words += std::isalnum(static_cast<unsigned char>(letter)) != 0 ? letter : '_';
  }
  return words;
}

INSTANTIATE_TEST_SUITE_P(Steps, EndAtStep,
                         ::testing::Combine(::testing::ValuesIn(std::vector<std::string>(std::begin(kStepsOfAll),
                                                                                         std::end(kStepsOfAll))),
                                            ::testing::Values(At::before, At::during, At::after)),
                         place_words);

}  // namespace
}  // namespace migsoak::engine
