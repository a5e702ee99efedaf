#include "engine/planner.h"

#include <cassert>

#include "base/rng.h"

namespace migsoak::engine {

namespace {

// The side on which the guest stands after `moves` migrations; position 0 is the first side.
std::size_t position(const Scenario& scenario, std::int64_t moves) {
  const auto count = static_cast<std::int64_t>(scenario.sides.size());
  if (moves == 0 || count == 1) return 0;
  switch (scenario.route) {
    case Route::round_robin: return static_cast<std::size_t>(moves % count);
    case Route::ping_pong: {  // a b c b a b c …: forth and back
      const std::int64_t period = 2 * (count - 1);
      const std::int64_t phase = moves % period;
      return static_cast<std::size_t>(phase < count ? phase : period - phase);
    }
    case Route::random: {
      // Drawn for each position alone, so that it needs no history; a side may so follow itself, which is a migration
      // between two processes of one build.
      base::Rng rng = base::Rng::for_iteration(scenario.seed, static_cast<std::uint64_t>(moves - 1));
      return rng.below(static_cast<std::uint64_t>(count));
    }
  }
  return 0;
}

}  // namespace

record::Plan plan_iteration(const Scenario& scenario, std::int64_t iteration) {
  assert(iteration >= 0 && !scenario.sides.empty() && !scenario.modes.empty());
  base::Rng rng = base::Rng::for_iteration(scenario.seed, static_cast<std::uint64_t>(iteration));
  rng.next();  // the draw that position() takes
  record::Plan plan;
  plan.iteration = iteration;
  plan.source_side = scenario.sides[position(scenario, iteration)].name;
  plan.destination_side = scenario.sides[position(scenario, iteration + 1)].name;
  plan.transport = scenario.transport;
  std::uint64_t total = 0;
  for (const auto& [name, weight] : scenario.modes) total += weight;
  std::uint64_t draw = rng.below(total);
  for (const auto& [name, weight] : scenario.modes) {
    if (draw < weight) {
      plan.mode = name;
      break;
    }
    draw -= weight;
  }
  return plan;
}

}  // namespace migsoak::engine
