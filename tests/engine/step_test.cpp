#include "engine/step.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

namespace migsoak::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Two VMs without a process, and the user. Ends are seen by check(), as the real watch sees them.
class FakeWatch : public ProcessWatch {
 public:
  explicit FakeWatch(record::Journal& journal) : journal_(journal) {}

  void end(const std::string& vm) { ended_.insert(vm); }
  void interrupt() { interrupted_ = true; }
  bool has(const std::string& vm) const { return vms_.count(vm) > 0; }
  void move_guest() { guest_in_ = "destination"; }
  // Ended as asked.
  void retire(const std::string& vm) { vms_.erase(vm); }

  StepResult check() override {
    ++checks;
    if (interrupted_) return StepResult::interrupted;
    StepResult result = StepResult::ok;
    for (const std::string& vm : std::exchange(ended_, {})) {
      if (vms_.erase(vm) == 0) continue;
      journal_.event(record::event_kind::kUnexpectedExit, vm);
      if (vm == guest_in_) result = StepResult::guest_lost;
    }
    return result;
  }

  StepResult explain(const Trouble& trouble) override {
    if (trouble.if_ended && !has(trouble.subject)) return *trouble.if_ended;
    blamed.push_back(trouble.subject);
    return trouble.error.kind == base::ErrorKind::environment ? StepResult::harness_failed : StepResult::guest_lost;
  }

  int checks = 0;
  std::vector<std::string> blamed;

 private:
  record::Journal& journal_;
  std::set<std::string> vms_ = {"source", "destination"};
  std::set<std::string> ended_;
  std::string guest_in_ = "source";
  bool interrupted_ = false;
};

Trouble no_answer_of(const std::string& subject) {
  return {subject, 0, {base::ErrorKind::timeout, "no answer", {}}, "answer"};
}

class StepTest : public ::testing::Test {
 protected:
  // An iteration with the steps whose order matters most.
  std::vector<Step> script() {
    std::vector<Step> steps;
    for (const char* name : {"spawn", "raise", "migrate", "end-source", "verify", "quiet"}) {
      steps.push_back({name, name, {}, [this, name] { return run(name); }});
    }
    return steps;
  }

  StepOutcome run(const std::string& name) {
    ran_.push_back(name);
    StepOutcome outcome = StepResult::ok;
    if (name == "migrate") {
      if (!watch_.has("destination")) {
        outcome = StepResult::stays_on_source;
      } else {
        watch_.move_guest();
      }
    }
    if (name == "end-source") watch_.retire("source");
    if (const auto happens = then_.find(name); happens != then_.end()) {
      if (auto otherwise = happens->second()) outcome = *otherwise;
    }
    return outcome;
  }

  // In this step, and then it comes to that; nothing: as usual.
  void in(const std::string& name, std::function<std::optional<StepOutcome>()> happens) { then_[name] = happens; }

  StepResult run_script() { return run_steps(script(), journal_, watch_); }

  std::vector<std::string> phases_of_events() const {
    std::vector<std::string> phases;
    for (const record::Event& event : into_.events) phases.push_back(event.kind + "@" + event.phase);
    return phases;
  }

  record::Observation into_;
  record::Journal journal_{into_};
  FakeWatch watch_{journal_};
  std::map<std::string, std::function<std::optional<StepOutcome>()>> then_;
  std::vector<std::string> ran_;
};

TEST_F(StepTest, runs_all_and_checks_once_after_each) {
  EXPECT_EQ(run_script(), StepResult::ok);
  EXPECT_THAT(ran_, ElementsAre("spawn", "raise", "migrate", "end-source", "verify", "quiet"));
  EXPECT_EQ(watch_.checks, 6);
  EXPECT_THAT(into_.events, IsEmpty());
  EXPECT_EQ(into_.phase, "quiet");
}

TEST_F(StepTest, unwanted_steps_cost_no_check_and_keep_the_phase) {
  const auto no = [] { return false; };
  const auto run_one = [this](const char* name) { return [this, name] { return run(name); }; };
  const std::vector<Step> steps = {{"one", "one", {}, run_one("one")},
                                   {"two", "two", no, run_one("two")},
                                   {"three", nullptr, {}, run_one("three")},
                                   {"four", "four", no, run_one("four")}};
  EXPECT_EQ(run_steps(steps, journal_, watch_), StepResult::ok);
  EXPECT_THAT(ran_, ElementsAre("one", "three"));
  EXPECT_EQ(into_.phase, "one");
  EXPECT_EQ(watch_.checks, 2);  // after "one", and after "three", before "four" is asked whether it is wanted
}

TEST_F(StepTest, a_step_is_asked_whether_it_is_wanted_when_its_turn_comes) {
  bool wanted = false;
  const std::vector<Step> steps = {{"one",
                                    "one",
                                    {},
                                    [&wanted] {
                                      wanted = true;
                                      return StepResult::ok;
                                    }},
                                   {"two", "two", [&wanted] { return wanted; }, [this] { return run("two"); }}};
  EXPECT_EQ(run_steps(steps, journal_, watch_), StepResult::ok);
  EXPECT_THAT(ran_, ElementsAre("two"));
}

// The destination dies in each step in turn, which itself notices nothing: before the migration, as its last act, and
// with the guest in it.
struct DeathCase {
  const char* step;
  StepResult result;
  int steps_run;
};
class DestinationDiesIn : public StepTest, public ::testing::WithParamInterface<DeathCase> {};

TEST_P(DestinationDiesIn, step) {
  in(GetParam().step, [this]() -> std::optional<StepOutcome> {
    watch_.end("destination");
    return std::nullopt;
  });
  EXPECT_EQ(run_script(), GetParam().result);
  EXPECT_EQ(ran_.size(), static_cast<std::size_t>(GetParam().steps_run));
  EXPECT_THAT(phases_of_events(), ElementsAre("unexpected-exit@" + std::string(GetParam().step)));
  EXPECT_THAT(watch_.blamed, IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Steps, DestinationDiesIn,
                         ::testing::Values(DeathCase{"spawn", StepResult::stays_on_source, 3},
                                           DeathCase{"raise", StepResult::stays_on_source, 3},
                                           DeathCase{"migrate", StepResult::guest_lost, 3},
                                           DeathCase{"end-source", StepResult::guest_lost, 4},
                                           DeathCase{"verify", StepResult::guest_lost, 5}),
                         [](const auto& test) {
                           std::string name = test.param.step;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST_F(StepTest, an_end_explains_the_trouble_of_the_step_in_which_it_came) {
  in("verify", [this]() -> std::optional<StepOutcome> {
    watch_.end("destination");
    return no_answer_of("guest");
  });
  EXPECT_EQ(run_script(), StepResult::guest_lost);
  EXPECT_THAT(phases_of_events(), ElementsAre("unexpected-exit@verify"));
  EXPECT_THAT(watch_.blamed, IsEmpty());
}

TEST_F(StepTest, trouble_without_an_end_is_blamed_on_its_subject) {
  in("verify", [] { return std::optional<StepOutcome>(no_answer_of("guest")); });
  EXPECT_EQ(run_script(), StepResult::guest_lost);
  EXPECT_THAT(watch_.blamed, ElementsAre("guest"));
  EXPECT_THAT(ran_, ElementsAre("spawn", "raise", "migrate", "end-source", "verify"));
  EXPECT_EQ(watch_.checks, 5);
}

TEST_F(StepTest, trouble_that_no_end_explains_is_not_checked_first) {
  in("raise", [this]() -> std::optional<StepOutcome> {
    watch_.end("source");
    Trouble trouble = no_answer_of("target:disk0");
    trouble.explained_by_ends = false;
    return trouble;
  });
  EXPECT_EQ(run_script(), StepResult::guest_lost);
  EXPECT_THAT(watch_.blamed, ElementsAre("target:disk0"));
  EXPECT_EQ(watch_.checks, 1);
}

TEST_F(StepTest, a_destination_that_ended_at_its_start_leaves_the_guest_on_the_source) {
  in("raise", [this]() -> std::optional<StepOutcome> {
    watch_.end("destination");
    Trouble trouble = no_answer_of("destination");
    trouble.if_ended = StepResult::stays_on_source;
    return trouble;
  });
  EXPECT_EQ(run_script(), StepResult::stays_on_source);
  EXPECT_THAT(ran_, ElementsAre("spawn", "raise"));
  EXPECT_THAT(phases_of_events(), ElementsAre("unexpected-exit@raise"));
  EXPECT_THAT(watch_.blamed, IsEmpty());
}

TEST_F(StepTest, an_end_that_does_not_matter_lets_the_steps_go_on) {
  in("verify", [this]() -> std::optional<StepOutcome> {
    Trouble trouble = no_answer_of("next");  // never there
    trouble.if_ended = StepResult::ok;
    return trouble;
  });
  EXPECT_EQ(run_script(), StepResult::ok);
  EXPECT_EQ(ran_.back(), "quiet");
  EXPECT_EQ(watch_.checks, 6);
}

TEST_F(StepTest, a_failed_migration_is_checked_before_the_guest_is_said_to_stay) {
  in("migrate", [] { return std::optional<StepOutcome>(StepResult::stays_on_source); });
  EXPECT_EQ(run_script(), StepResult::stays_on_source);
  EXPECT_EQ(ran_.back(), "migrate");
  EXPECT_EQ(watch_.checks, 3);
}

TEST_F(StepTest, a_failed_migration_whose_vm_with_the_guest_ended_has_lost_it) {
  in("raise", [this]() -> std::optional<StepOutcome> {
    watch_.end("source");
    return StepOutcome(StepResult::stays_on_source);
  });
  EXPECT_EQ(run_script(), StepResult::guest_lost);
}

TEST_F(StepTest, what_ended_as_declared_is_not_looked_at_again) {
  in("migrate", [this]() -> std::optional<StepOutcome> {
    watch_.end("destination");
    return StepOutcome(StepResult::ended_as_declared);
  });
  EXPECT_EQ(run_script(), StepResult::ended_as_declared);
  EXPECT_THAT(into_.events, IsEmpty());
  EXPECT_EQ(watch_.checks, 2);
}

TEST_F(StepTest, an_interruption_ends_the_table_between_two_steps) {
  in("raise", [this]() -> std::optional<StepOutcome> {
    watch_.interrupt();
    return std::nullopt;
  });
  EXPECT_EQ(run_script(), StepResult::interrupted);
  EXPECT_THAT(ran_, ElementsAre("spawn", "raise"));
}

TEST_F(StepTest, an_interruption_is_nobodys_fault) {
  in("raise", [this]() -> std::optional<StepOutcome> {
    watch_.interrupt();
    return no_answer_of("destination");
  });
  EXPECT_EQ(run_script(), StepResult::interrupted);
  EXPECT_THAT(watch_.blamed, IsEmpty());
}

TEST_F(StepTest, the_harness_may_fail) {
  in("spawn", [] {
    return std::optional<StepOutcome>(
        Trouble{"harness", 0, {base::ErrorKind::environment, "no space left", {}}, "start"});
  });
  EXPECT_EQ(run_script(), StepResult::harness_failed);
  EXPECT_THAT(ran_, ElementsAre("spawn"));
}

TEST_F(StepTest, an_end_in_the_last_step_is_of_this_iteration) {
  in("quiet", [this]() -> std::optional<StepOutcome> {
    watch_.end("destination");
    return std::nullopt;
  });
  EXPECT_EQ(run_script(), StepResult::guest_lost);
  EXPECT_THAT(phases_of_events(), ElementsAre("unexpected-exit@quiet"));
}

}  // namespace
}  // namespace migsoak::engine
