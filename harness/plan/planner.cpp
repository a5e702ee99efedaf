#include "plan/planner.h"

#include <algorithm>
#include <cassert>

#include "base/rng.h"
#include "ops/modes/mode.h"
#include "ops/upgrade_failures/upgrade_failure.h"
#include "plan/libvirt_plan.h"
#include "plan/restart_plan.h"

namespace migsoak::plan {

using scenario::Scenario;
Planner::Planner(const Scenario& scenario) : scenario_(scenario), route_(scenario) {}

std::int64_t Planner::lineage_begin(std::int64_t iteration) const {
  return route_.lineage_begin(iteration);
}

record::Plan Planner::without_operations(std::int64_t iteration, base::Rng& rng) {
  assert(iteration >= 0 && !scenario_.sides.empty() && !scenario_.modes.empty() && !scenario_.guest.machines.empty());
  rng.next();  // the draws of RoutePlan
  rng.next();
  const Leg leg = route_.leg(iteration);
  record::Plan plan;
  plan.iteration = iteration;
  plan.source_side = scenario_.sides[leg.source].name;
  plan.destination_side = scenario_.sides[leg.destination].name;
  plan.transport = scenario_.transport;
  const std::int64_t length = scenario_.lineage_iterations;
  const std::int64_t lineage = length > 0 ? iteration / length : 0;
  const std::vector<std::string>& machines = scenario_.guest.machines;
  plan.machine = machines[static_cast<std::size_t>(lineage) % machines.size()];
  plan.mode = leg.mode;
  plan.expect = leg.expect;
  // A mode that has only its own way takes that one.
  const ops::Mode* mode = ops::find_mode(leg.mode);
  const auto has = [&](const std::string& transport) {
    return std::find(mode->transports.begin(), mode->transports.end(), transport) != mode->transports.end();
  };
  if (mode != nullptr && !has(plan.transport)) plan.transport = mode->transports.front();
  return plan;
}

bool Planner::leaves_first_side(std::int64_t iteration) {
  return route_.leg(iteration).source == route_.leg(lineage_begin(iteration)).source;
}

// Afterwards operations_ holds the set as it is when `iteration` begins.
void Planner::fold_to(std::int64_t iteration) {
  const std::int64_t begin = lineage_begin(iteration);
  if (operations_ == nullptr || folded_begin_ != begin || folded_ > iteration) {
    base::Rng rng = base::Rng::for_iteration(scenario_.seed, static_cast<std::uint64_t>(begin));
    operations_ = std::make_unique<OperationPlanner>(scenario_, without_operations(begin, rng).machine);
    folded_begin_ = begin;
    folded_ = begin;
  }
  for (; folded_ < iteration; ++folded_) {
    base::Rng rng = base::Rng::for_iteration(scenario_.seed, static_cast<std::uint64_t>(folded_));
    (void)without_operations(folded_, rng);
    (void)operations_->next(folded_ - begin, leaves_first_side(folded_), rng);
  }
}

record::Plan Planner::plan(std::int64_t iteration) {
  if (last_.mode.empty() || last_.iteration != iteration) last_ = make(iteration);
  return last_;
}

// One of those that can happen to this migration; none before a migration that is to fail by itself.
std::string Planner::draw_failure(const record::Plan& plan, base::Rng& rng) const {
  const std::uint64_t draw = rng.next();
  const std::int64_t every = scenario_.upgrade.every;
  if (plan.iteration % every != every - 1 || plan.expect != record::kExpectCompletes) return "";
  std::vector<std::string> fitting;
  for (const std::string& name : scenario_.upgrade.failures) {
    const ops::UpgradeFailure* failure = ops::find_upgrade_failure(name);
    if (ops::applies(*failure, *ops::find_mode(plan.mode), plan.transport)) fitting.push_back(name);
  }
  return fitting.empty() ? "" : fitting[draw % fitting.size()];
}

record::Plan Planner::make(std::int64_t iteration) {
  base::Rng rng = base::Rng::for_iteration(scenario_.seed, static_cast<std::uint64_t>(iteration));
  record::Plan plan = without_operations(iteration, rng);
  if (scenario_.hotplug.used()) {
    fold_to(iteration);
    plan.operations = operations_->next(iteration - folded_begin_, leaves_first_side(iteration), rng);
    folded_ = iteration + 1;
    fit_to_mode(plan);
  }
  plan_restarts(scenario_, rng, plan);
  if (scenario_.upgrade.used()) plan.upgrade_failure = draw_failure(plan, rng);
  if (scenario_.driver() == "libvirt") plan_libvirt(scenario_, rng, plan);
  return plan;
}

// A hot upgrade has no time in which an operation could be under way, or be asked for: such are settled before, or left
// out where they would change nothing.
void Planner::fit_to_mode(record::Plan& plan) {
  const ops::Mode* mode = ops::find_mode(plan.mode);
  if (mode == nullptr || mode->needs.process_order == ops::ProcessOrder::beside) return;
  std::erase_if(plan.operations, [](const record::PlannedOperation& op) { return op.timing == "refused"; });
  for (record::PlannedOperation& operation : plan.operations) operation.timing = "settled";
}

hypervisor::DeviceSet Planner::devices_before(std::int64_t iteration) {
  fold_to(scenario_.hotplug.used() ? iteration : lineage_begin(iteration));
  return operations_->devices();
}

const std::vector<UndoneStep>& Planner::undone_steps() const {
  static const std::vector<UndoneStep> kNone;
  return operations_ == nullptr ? kNone : operations_->undone_steps();
}

record::Plan plan_iteration(const Scenario& scenario, std::int64_t iteration) {
  return Planner(scenario).plan(iteration);
}

}  // namespace migsoak::plan
