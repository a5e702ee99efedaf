#include "plan/route_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <tuple>

#include "plan/device_plan.h"
#include "record/plan.h"

namespace migsoak::plan {

using scenario::EdgeScenario;
using scenario::Route;
using scenario::Scenario;
namespace {

bool holds(const std::vector<std::string>& sides, const std::string& side) {
  return sides.empty() || std::find(sides.begin(), sides.end(), side) != sides.end();
}

}  // namespace

std::optional<std::string> expected_of(const Scenario& scenario, const std::string& mode, const std::string& from,
                                       const std::string& to) {
  bool declared = false;
  for (const EdgeScenario& edge : scenario.edges) {
    if (edge.mode != mode || edge.at >= 0) continue;
    declared = true;
    if (holds(edge.from, from) && holds(edge.to, to)) return edge.expect;
  }
  if (declared) return std::nullopt;
  return record::kExpectCompletes;
}

std::string declared_reason(const Scenario& scenario, const record::Plan& plan) {
  for (const EdgeScenario& edge : scenario.edges) {
    const bool fits = edge.mode == plan.mode && edge.expect == plan.expect && holds(edge.from, plan.source_side) &&
                      holds(edge.to, plan.destination_side) && (edge.at < 0 || edge.at == plan.iteration);
    if (fits) return edge.reason;
  }
  return "";
}

std::vector<std::int64_t> telling_iterations(const Scenario& scenario) {
  constexpr std::int64_t kFirstMax = 400;
  std::vector<std::int64_t> iterations;
  for (std::int64_t i = 0; i < std::min(scenario.iterations, kFirstMax); ++i) iterations.push_back(i);
  for (const EdgeScenario& edge : scenario.edges) {
    if (edge.at >= 0 && edge.at < scenario.iterations) iterations.push_back(edge.at);
  }
  return iterations;
}

std::int64_t RoutePlan::lineage_begin(std::int64_t iteration) const {
  const std::int64_t length = scenario_.lineage_iterations;
  return length > 0 ? iteration / length * length : 0;
}

// The side on which the guest stands after `moves` migrations of its lineage, when all complete; position 0 is the
// first side.
std::size_t RoutePlan::position(std::int64_t moves) const {
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

// Ordered pairs: (0,1) (0,2) … (1,0) …, one for each lineage, to and fro.
std::pair<std::size_t, std::size_t> RoutePlan::pair_of(std::int64_t iteration) const {
  const std::size_t count = scenario_.sides.size();
  const std::int64_t length = scenario_.lineage_iterations;
  const auto pairs = static_cast<std::int64_t>(count * (count - 1));
  const auto pair = static_cast<std::size_t>(length > 0 ? iteration / length % pairs : 0);
  const std::size_t first = pair / (count - 1);
  const std::size_t other = pair % (count - 1);
  const std::size_t second = other < first ? other : other + 1;
  return (iteration - lineage_begin(iteration)) % 2 == 0 ? std::pair{first, second} : std::pair{second, first};
}

const EdgeScenario* RoutePlan::edge_at(std::int64_t iteration) const {
  for (const EdgeScenario& edge : scenario_.edges) {
    if (edge.at == iteration && iteration >= 0) return &edge;
  }
  return nullptr;
}

std::size_t RoutePlan::next_side(std::int64_t iteration, std::size_t source, const Leg* before) const {
  const std::size_t planned = position(iteration + 1);
  if (scenario_.route == Route::random || scenario_.sides.size() == 1) return planned;
  // Where an edge has held the guest back, the route goes on from where it stands.
  const bool held_back = before != nullptr && source != before->destination;
  if (!held_back && position(iteration) == source) return planned;
  return (source + 1) % scenario_.sides.size();
}

void RoutePlan::draw_mode(Leg& leg, base::Rng& rng, bool must_complete) const {
  const std::string& from = scenario_.sides[leg.source].name;
  const std::string& to = scenario_.sides[leg.destination].name;
  std::vector<std::pair<std::string, std::uint64_t>> possible;
  for (const auto& [mode, weight] : scenario_.modes) {
    const auto expect = expected_of(scenario_, mode, from, to);
    if (expect && weight > 0 && (!must_complete || *expect == record::kExpectCompletes)) {
      possible.emplace_back(mode, weight);
    }
  }
  if (possible.empty()) {
    leg.trouble = fmt::format("no mode leads from side {} to side {}{}; declare one with [[migration.edge]]", from, to,
                              must_complete ? " for certain" : "");
    return;
  }
  leg.mode = draw_weighted(possible, rng);
  leg.expect = *expected_of(scenario_, leg.mode, from, to);
}

Leg RoutePlan::make(std::int64_t iteration, const Leg* before) const {
  base::Rng rng = base::Rng::for_iteration(scenario_.seed, static_cast<std::uint64_t>(iteration));
  rng.next();  // the draw that position() takes
  Leg leg;
  if (scenario_.route == Route::pairs && scenario_.sides.size() > 1) {
    std::tie(leg.source, leg.destination) = pair_of(iteration);
    draw_mode(leg, rng, false);
    return leg;
  }
  if (before != nullptr) {
    leg.source = before->expect == record::kExpectRefused ? before->source : before->destination;
  } else if (iteration != lineage_begin(iteration)) {
    leg.source = position(iteration);  // no edge holds anybody back
  }
  if (const EdgeScenario* edge = edge_at(iteration)) {
    const auto index = [this](const std::string& side) {
      return static_cast<std::size_t>(
          std::find_if(scenario_.sides.begin(), scenario_.sides.end(), [&](const auto& s) { return s.name == side; }) -
          scenario_.sides.begin());
    };
    if (leg.source != index(edge->from.front())) {
      leg.trouble =
          fmt::format("{} is to leave from side {}, where the guest can't be by then", edge->mode, edge->from.front());
    }
    leg.destination = index(edge->to.front());
    leg.mode = edge->mode;
    leg.expect = edge->expect;
    return leg;
  }
  // It has to be on the right side when an edge with an iteration of its own comes.
  const EdgeScenario* next =
      lineage_begin(iteration + 1) == lineage_begin(iteration) ? edge_at(iteration + 1) : nullptr;
  leg.destination = next_side(iteration, leg.source, before);
  for (std::size_t i = 0; next != nullptr && i < scenario_.sides.size(); ++i) {
    if (scenario_.sides[i].name == next->from.front()) leg.destination = i;
  }
  draw_mode(leg, rng, next != nullptr);
  if (leg.trouble.empty() || next != nullptr || scenario_.route != Route::random) return leg;
  // No mode leads where the draw would have it: another side, then, in their order.
  for (std::size_t i = 1; i < scenario_.sides.size() && !leg.trouble.empty(); ++i) {
    Leg other = leg;
    other.trouble.clear();
    other.destination = (leg.destination + i) % scenario_.sides.size();
    draw_mode(other, rng, false);
    if (other.trouble.empty()) return other;
  }
  return leg;
}

Leg RoutePlan::leg(std::int64_t iteration) {
  assert(iteration >= 0 && !scenario_.sides.empty() && !scenario_.modes.empty());
  if (scenario_.edges.empty()) return make(iteration, nullptr);
  const std::int64_t begin = lineage_begin(iteration);
  if (begin != begin_) {
    begin_ = last_index_ = begin;
    first_ = last_ = make(begin, nullptr);
  }
  if (iteration == begin) return first_;
  if (iteration < last_index_) {
    last_index_ = begin;
    last_ = first_;
  }
  while (last_index_ < iteration) {
    last_ = make(last_index_ + 1, &last_);
    ++last_index_;
  }
  return last_;
}

}  // namespace migsoak::plan
