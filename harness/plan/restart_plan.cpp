#include "plan/restart_plan.h"

#include <string>
#include <utility>
#include <vector>

#include "ops/modes/mode.h"
#include "target/target_kind.h"

namespace migsoak::plan {

using scenario::RestartScenario;
using scenario::Scenario;
using scenario::TargetScenario;
void plan_restarts(const Scenario& scenario, base::Rng& rng, record::Plan& plan) {
  // What is meant to fail is looked at by itself.
  if (plan.expect != record::kExpectCompletes || !plan.upgrade_failure.empty()) return;
  for (const RestartScenario& restart : scenario.restarts) {
    if ((plan.iteration + 1) % restart.every != 0) continue;
    std::vector<std::string> timings = restart.timings;
    if (!ops::runs_beside(plan.mode)) std::erase(timings, "during");
    if (timings.empty()) continue;
    record::PlannedRestart planned;
    planned.target = restart.target;
    planned.daemon = restart.daemon;
    planned.how = restart.how[rng.below(restart.how.size())];
    planned.timing = timings[rng.below(timings.size())];
    planned.expect = restart.expect;
    const TargetScenario* target = scenario.find_target(restart.target);
    const bool answers_nothing = planned.how == "kill" && target != nullptr &&
                                 target::find_target_kind(target->kind)->restart.fails_requests_when_asked;
    if (answers_nothing) planned.expect = "recovers";
    plan.restarts.push_back(std::move(planned));
  }
}

}  // namespace migsoak::plan
