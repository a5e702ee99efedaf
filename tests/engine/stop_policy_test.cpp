// What a lane does after an iteration.
#include "engine/stop_policy.h"

#include <gmock/gmock.h>

#include "plan/scenario_text.h"

namespace migsoak::engine {
namespace {

using Next = StopPolicy::Next;
using record::IterationStatus;
using ::testing::HasSubstr;
using ::testing::StartsWith;

Scenario scenario_with(const std::string& run_lines) {
  return plan::testing::parsed("name = \"s\"\n[[side]]\nname = \"a\"\n[[side]]\nname = \"b\"\n" + run_lines);
}

record::Observation ended(std::int64_t iteration, IterationStatus status, const char* expect = "completes") {
  record::Observation observation;
  observation.iteration = iteration;
  observation.status = status;
  observation.plan.expect = expect;
  return observation;
}

TEST(StopPolicy, ALostGuestEndsTheRunOrALineage) {
  const Scenario stopping = scenario_with("");
  const StopPolicy::Decision stopped = StopPolicy(stopping).after(ended(7, IterationStatus::lost));
  EXPECT_EQ(stopped.next, Next::stop);
  EXPECT_EQ(stopped.why, "stopped: the guest, a target or a daemon was lost in iteration 7");

  const Scenario going_on = scenario_with("[run]\non_loss = \"new-lineage\"\n");
  EXPECT_EQ(StopPolicy(going_on).after(ended(7, IterationStatus::lost)).next, Next::go_on);

  const Scenario pairs =
      scenario_with("[migration]\nroute = \"pairs\"\n[run]\nlineage = 10\non_loss = \"new-lineage\"\n");
  EXPECT_EQ(StopPolicy(pairs).after(ended(7, IterationStatus::lost)).next, Next::leave_out_rest);
}

TEST(StopPolicy, ALossThatIsDeclaredIsNone) {
  const Scenario scenario = scenario_with("");
  EXPECT_EQ(StopPolicy(scenario).after(ended(7, IterationStatus::lost, "lost")).next, Next::go_on);
  record::Observation restarted = ended(7, IterationStatus::lost);
  restarted.events.push_back({record::event_kind::kTargetRestart, "target:disk0", 0, "restart", 0, "", {}});
  restarted.events.back().detail = {{"ended_guest", true}};
  EXPECT_EQ(StopPolicy(scenario).after(restarted).next, Next::go_on);
}

TEST(StopPolicy, FailuresInARow) {
  const Scenario endless = scenario_with("[run]\nfailures_max = 3\n");
  StopPolicy policy(endless);
  for (const IterationStatus status : {IterationStatus::failed, IterationStatus::failed, IterationStatus::completed,
                                       IterationStatus::failed, IterationStatus::failed}) {
    EXPECT_EQ(policy.after(ended(0, status)).next, Next::go_on);
  }
  EXPECT_EQ(policy.after(ended(1, IterationStatus::failed, "refused")).next, Next::go_on) << "as declared";
  const StopPolicy::Decision third = policy.after(ended(2, IterationStatus::failed));
  EXPECT_EQ(third.next, Next::stop);
  EXPECT_EQ(third.why, "stopped: 3 migrations in a row failed");

  const Scenario by_lineage = scenario_with("[run]\nfailures_max = 2\nlineage = 5\n");
  StopPolicy of_lineage(by_lineage);
  EXPECT_EQ(of_lineage.after(ended(4, IterationStatus::failed)).next, Next::go_on);
  of_lineage.begin_lineage();
  EXPECT_EQ(of_lineage.after(ended(5, IterationStatus::failed)).next, Next::go_on) << "another guest's failure";
  EXPECT_EQ(of_lineage.after(ended(6, IterationStatus::failed)).next, Next::leave_out_rest);
}

TEST(StopPolicy, TheHarnesssFailureStopsTheRun) {
  const Scenario scenario = scenario_with("[run]\non_loss = \"new-lineage\"\n");
  record::Observation broken = ended(3, IterationStatus::unknown);
  EXPECT_EQ(StopPolicy(scenario).after(broken).next, Next::harness_failed);
  broken.events.push_back({record::event_kind::kHarnessError, "harness", 0, "spawn", 0, "no space left", {}});
  EXPECT_EQ(StopPolicy(scenario).after(broken).why, "no space left");
}

}  // namespace
}  // namespace migsoak::engine
