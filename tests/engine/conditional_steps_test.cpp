// A QEMU that ends before, in and after each step that only some iterations have. Those that all have:
// iteration_test.cpp. A step of the tables that is neither there nor here, nor said to be out of reach, is a failure.
#include <gmock/gmock.h>

#include <algorithm>
#include <cctype>
#include <csignal>
#include <iterator>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "engine/fake_lineage.h"
#include "engine/fake_target.h"
#include "engine/steps_of_all.h"

namespace migsoak::engine {
namespace {

using record::IterationStatus;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

// What an iteration must be like to have the step.
enum class IterationHas { upgrade_failure, restart, plug, next, failure };

struct Conditional {
  const char* step;
  IterationHas has;
  const char* timing = "";  // of the restart or the plug
};
constexpr Conditional kConditional[] = {
    {"fail an upgrade", IterationHas::upgrade_failure},
    {"restart targets between migrations", IterationHas::restart, "between"},
    {"plug and unplug", IterationHas::plug, "settled"},
    {"read the device tree after it", IterationHas::plug, "settled"},
    {"restart targets before the migration", IterationHas::restart, "before"},
    {"plug and unplug, not waited for", IterationHas::plug, "at-once"},
    {"hold the migration for restarts", IterationHas::restart, "during"},
    {"conclude plugs and unplugs", IterationHas::plug, "at-once"},
    {"raise the next destination", IterationHas::next},
    {"restart targets after the migration", IterationHas::restart, "after"},
    {"verify after the restart", IterationHas::restart, "after"},
    {"look at the source", IterationHas::failure},
    {"hear the guest", IterationHas::failure},
};

struct OutOfReach {
  const char* step;
  const char* why;
};
constexpr OutOfReach kOutOfReach[] = {
    {"start the targets", "the fake lineage has no targets of its own; their ends: guest_targets_test.cpp"},
    {"start the first QEMU",
     "there is no source and no destination yet; a guest that does not boot: iteration_test.cpp"},
    {"wait for the guest", "as above"},
    {"start its workload", "as above"},
    {"the lineage begins", "as above"},
    {"read configuration space in the guest", "the guest of the fake VM has no devices to read"},
    {"read configuration space as it arrived", "the fake VM's destinations can be asked before they load"},
    {"verify again after I/O errors", "the guest of the fake VM has no disks, so it sees no errors of theirs"},
};

enum class EndWhen { before, during, after };

class EndAtConditionalStep : public FakeLineage, public ::testing::TestWithParam<std::tuple<Conditional, EndWhen>> {
 protected:
  void arrange() {
    const Conditional& place = std::get<0>(GetParam());
    record::Observation first = iterate();
    ASSERT_EQ(first.status, IterationStatus::completed);
    switch (place.has) {
      case IterationHas::upgrade_failure:
        adjust_ = [](record::Plan& plan) { plan.upgrade_failure = "missing-binary"; };
        fake_->fail_next_start({base::ErrorKind::environment, "no such file", {}});
        break;
      case IterationHas::restart: {
        auto made = std::make_unique<FakeTarget>("disk0", "", directory_.file("run"));
        FakeTarget* const target = made.get();
        record::Journal journal(first);
        lineage_->targets().note_started(lineage_->targets().hold(std::move(made), {}), journal);
        target->listen_and_connect();
        adjust_ = [&place](record::Plan& plan) { plan.restarts = {{"disk0", "graceful", place.timing, "recovers"}}; };
        break;
      }
      case IterationHas::plug:
        adjust_ = [&place](record::Plan& plan) {
          plan.operations = {{"virtio-rng", "plug", place.timing, "vr0", "", "0x5"}};
        };
        break;
      case IterationHas::next: next_side_ = "b"; break;
      case IterationHas::failure: fake_->migrations_pass({"setup", "active", "failed"}); break;
    }
  }
  bool has_vm(const std::string& side) {
    return std::any_of(lineage_->vms().begin(), lineage_->vms().end(),
                       [&side](const Vm& vm) { return vm.machine->spec().side == side; });
  }
  // The guest is on "b", and goes to "a".
  record::Observation iterate_with_end_of(const std::string& side) {
    arrange();
    const EndWhen when = std::get<1>(GetParam());
    StepHook hook;
    hook.at(std::get<0>(GetParam()).step, when == EndWhen::after ? StepHook::When::after : StepHook::When::before,
            [this, side, when] {
              was_there_ = has_vm(side);
              had_guest_ = fake_->guest_side() == side;
              if (!was_there_) return;
              const proc::ExitStatus crash{-1, SIGABRT, true};
              when == EndWhen::during ? fake_->end_soon(side, crash) : fake_->end(side, crash);
            });
    record::Observation observation = iterate("precopy", &hook);
    EXPECT_TRUE(hook.done()) << "the step was not run";
    return observation;
  }
  void expect_blame(const std::string& side, const std::string& other) {
    const record::Observation observation = iterate_with_end_of(side);
    const std::vector<std::string> events = events_of(observation);
    SCOPED_TRACE(::testing::PrintToString(events));
    const IterationHas has = std::get<0>(GetParam()).has;
    const std::vector<std::string> findings = findings_of(observation);
    EXPECT_THAT(events, Not(Contains(HasSubstr("hang"))));
    EXPECT_THAT(events, Not(Contains("harness-error harness")));
    if (had_guest_) {
      EXPECT_EQ(observation.status, IterationStatus::lost);
    } else if (was_there_ && has == IterationHas::next && side == "b") {
      // The next destination: the iteration after this one tries again.
      EXPECT_EQ(observation.status, IterationStatus::completed);
      EXPECT_EQ(fake_->guest_side(), other);
    } else if (was_there_ || has == IterationHas::failure) {
      EXPECT_EQ(observation.status, IterationStatus::failed);
      EXPECT_EQ(fake_->guest_side(), other);
      EXPECT_TRUE(fake_->guest_runs());
    } else {
      EXPECT_EQ(observation.status, IterationStatus::completed);
    }
    if (within_attempt()) {
      // The upgrade lost the guest, and the old side crashed. (The new one is not there: its binary is missing.)
      EXPECT_EQ(std::count(findings.begin(), findings.end(), "upgrade-failure qemu:a"), was_there_ ? 1 : 0);
      EXPECT_EQ(std::count(findings.begin(), findings.end(), "crash qemu:b"), was_there_ ? 1 : 0);
      EXPECT_THAT(findings, Not(Contains("crash qemu:a")));
      return;
    }
    EXPECT_EQ(std::count(events.begin(), events.end(), "unexpected-exit qemu:" + side), was_there_ ? 1 : 0);
    if (was_there_) {
      EXPECT_THAT(findings, Contains("crash qemu:" + side));
    }
    EXPECT_EQ(event_of(observation, record::event_kind::kGuestLost) != nullptr, had_guest_);
    EXPECT_THAT(events, Not(Contains("unexpected-exit qemu:" + other)));
    EXPECT_THAT(findings, Not(Contains("crash qemu:" + other)));
  }
  bool within_attempt() const {
    return std::get<0>(GetParam()).has == IterationHas::upgrade_failure && std::get<1>(GetParam()) != EndWhen::after;
  }

  bool was_there_ = false, had_guest_ = false;  // when the end came
};

TEST_P(EndAtConditionalStep, OfTheDestinationIsBlamedOnIt) {
  expect_blame("a", "b");
}

TEST_P(EndAtConditionalStep, OfTheSourceIsBlamedOnIt) {
  expect_blame("b", "a");
}

std::string conditional_words(const ::testing::TestParamInfo<std::tuple<Conditional, EndWhen>>& tested) {
  const auto& [place, when] = tested.param;
  std::string words = when == EndWhen::before ? "before_" : when == EndWhen::during ? "during_" : "after_";
  for (const char letter : std::string(place.step)) {
    words += std::isalnum(static_cast<unsigned char>(letter)) != 0 ? letter : '_';
  }
  return words;
}

INSTANTIATE_TEST_SUITE_P(Steps, EndAtConditionalStep,
                         ::testing::Combine(::testing::ValuesIn(kConditional),
                                            ::testing::Values(EndWhen::before, EndWhen::during, EndWhen::after)),
                         conditional_words);

class StepTables : public FakeLineage, public ::testing::Test {};

TEST_F(StepTables, EveryStepIsTestedOrSaidToBeOutOfReach) {
  std::vector<std::string> known(std::begin(kStepsOfAll), std::end(kStepsOfAll));
  for (const Conditional& place : kConditional) known.emplace_back(place.step);
  for (const OutOfReach& place : kOutOfReach) known.emplace_back(place.step);
  record::Observation observation;
  observation.plan = {0, "a", "b", "precopy", "unix", "q35"};
  IterationRunner runner(*lineage_, observation, base::Clock::now(), "");
  EXPECT_THAT(runner.step_names(), ::testing::UnorderedElementsAreArray(known));
}

}  // namespace
}  // namespace migsoak::engine
