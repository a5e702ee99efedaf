#include "engine/planner.h"

#include <cassert>

#include "base/rng.h"

namespace migsoak::engine {

Planner::Planner(const Scenario& scenario) : scenario_(scenario) {}

std::int64_t Planner::lineage_begin(std::int64_t iteration) const {
  const std::int64_t length = scenario_.lineage_iterations;
  return length > 0 ? iteration / length * length : 0;
}

bool Planner::begins_lineage(std::int64_t iteration) const {
  return scenario_.lineage_iterations > 0 && lineage_begin(iteration) == iteration;
}

// The side on which the guest stands after `moves` migrations of its lineage; position 0 is the first side.
std::size_t Planner::position(std::int64_t moves) const {
  const auto count = static_cast<std::int64_t>(scenario_.sides.size());
  if (count == 1) return 0;
  const std::int64_t begin = moves > 0 ? lineage_begin(moves - 1) : 0;
  const std::int64_t own = moves - begin;
  if (own == 0) return 0;
  switch (scenario_.route) {
    case Route::round_robin: return static_cast<std::size_t>(own % count);
    case Route::ping_pong: {  // a b c b a b c …: forth and back
      const std::int64_t period = 2 * (count - 1);
      const std::int64_t phase = own % period;
      return static_cast<std::size_t>(phase < count ? phase : period - phase);
    }
    case Route::random: {
      // Drawn for each position alone, so that it needs no history; a side may so follow itself, which is a migration
      // between two processes of one build.
      base::Rng rng = base::Rng::for_iteration(scenario_.seed, static_cast<std::uint64_t>(moves - 1));
      return rng.below(static_cast<std::uint64_t>(count));
    }
    case Route::pairs: break;
  }
  return 0;
}

Planner::Sides Planner::sides_of(std::int64_t iteration) const {
  const std::int64_t begin = lineage_begin(iteration);
  const std::size_t count = scenario_.sides.size();
  if (scenario_.route != Route::pairs || count < 2) {
    return {iteration == begin ? 0 : position(iteration), position(iteration + 1)};
  }
  // Ordered pairs: (0,1) (0,2) … (1,0) …, one for each lineage.
  const std::int64_t length = scenario_.lineage_iterations;
  const auto pairs = static_cast<std::int64_t>(count * (count - 1));
  const auto pair = static_cast<std::size_t>(length > 0 ? iteration / length % pairs : 0);
  const std::size_t first = pair / (count - 1);
  const std::size_t other = pair % (count - 1);
  const std::size_t second = other < first ? other : other + 1;
  return (iteration - begin) % 2 == 0 ? Sides{first, second} : Sides{second, first};
}

record::Plan Planner::without_operations(std::int64_t iteration, base::Rng& rng) const {
  assert(iteration >= 0 && !scenario_.sides.empty() && !scenario_.modes.empty() && !scenario_.guest.machines.empty());
  rng.next();  // the draw that position() takes
  const Sides sides = sides_of(iteration);
  record::Plan plan;
  plan.iteration = iteration;
  plan.source_side = scenario_.sides[sides.source].name;
  plan.destination_side = scenario_.sides[sides.destination].name;
  plan.transport = scenario_.transport;
  const std::int64_t length = scenario_.lineage_iterations;
  const std::int64_t lineage = length > 0 ? iteration / length : 0;
  const std::vector<std::string>& machines = scenario_.guest.machines;
  plan.machine = machines[static_cast<std::size_t>(lineage) % machines.size()];
  plan.mode = draw_weighted(scenario_.modes, rng);
  return plan;
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
    (void)operations_->next(folded_ - begin, sides_of(folded_).source == sides_of(begin).source, rng);
  }
}

record::Plan Planner::plan(std::int64_t iteration) {
  if (last_.mode.empty() || last_.iteration != iteration) last_ = make(iteration);
  return last_;
}

record::Plan Planner::make(std::int64_t iteration) {
  base::Rng rng = base::Rng::for_iteration(scenario_.seed, static_cast<std::uint64_t>(iteration));
  record::Plan plan = without_operations(iteration, rng);
  if (!scenario_.hotplug.used()) return plan;
  fold_to(iteration);
  plan.operations =
      operations_->next(iteration - folded_begin_, sides_of(iteration).source == sides_of(folded_begin_).source, rng);
  folded_ = iteration + 1;
  return plan;
}

hypervisor::DeviceSet Planner::devices_before(std::int64_t iteration) {
  fold_to(iteration);
  return operations_->devices();
}

const std::vector<UndoneStep>& Planner::undone_steps() const {
  static const std::vector<UndoneStep> kNone;
  return operations_ == nullptr ? kNone : operations_->undone_steps();
}

record::Plan plan_iteration(const Scenario& scenario, std::int64_t iteration) {
  return Planner(scenario).plan(iteration);
}

}  // namespace migsoak::engine
