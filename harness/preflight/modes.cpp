#include "preflight/modes.h"

#include <fmt/format.h>

#include <algorithm>
#include <compare>
#include <set>

#include "base/version.h"
#include "ops/modes/mode.h"
#include "plan/route_plan.h"
#include "record/plan.h"

namespace migsoak::preflight {

using base::ErrorKind;
using base::fail;
using base::Result;
using plan::Leg;
using plan::RoutePlan;
using plan::telling_iterations;
using scenario::EdgeScenario;
using scenario::Scenario;
using scenario::SideScenario;

namespace {

constexpr const char* kAuxRamShareSince = "10.0";

template <typename Wanted>
bool any_mode(const Scenario& scenario, Wanted wanted) {
  return std::any_of(ops::modes().begin(), ops::modes().end(),
                     [&](const ops::Mode& mode) { return scenario.uses_mode(mode.name) && wanted(mode.needs); });
}

struct Edge {
  std::string from, to, mode, expect;
  auto operator<=>(const Edge&) const = default;
};

std::set<Edge> edges_of(const Scenario& scenario) {
  RoutePlan route(scenario);
  std::set<Edge> edges;
  for (const std::int64_t iteration : telling_iterations(scenario)) {
    const Leg leg = route.leg(iteration);
    edges.insert({scenario.sides[leg.source].name, scenario.sides[leg.destination].name, leg.mode, leg.expect});
  }
  return edges;
}

bool is_declared(const Scenario& scenario, const Edge& edge) {
  const auto names = [](const std::vector<std::string>& sides, const std::string& side) {
    return std::find(sides.begin(), sides.end(), side) != sides.end();
  };
  return std::any_of(scenario.edges.begin(), scenario.edges.end(), [&](const EdgeScenario& declared) {
    return declared.mode == edge.mode && names(declared.from, edge.from) && names(declared.to, edge.to);
  });
}

Result<void> check_edge(const Scenario& scenario, const Preflight& preflight, const Edge& edge) {
  const ops::ModeNeeds& needs = ops::find_mode(edge.mode)->needs;
  const std::string from = preflight.qemu.at(scenario.side(edge.from).qemu).version;
  const std::string to = preflight.qemu.at(scenario.side(edge.to).qemu).version;
  const auto lacks = [&](const std::string& side, const std::string& version) {
    return fail(
        ErrorKind::bad_input,
        fmt::format("{}: migration.mode: {} needs QEMU {} or newer, side {} has {}; give the side another build, "
                    "or say with [[migration.edge]] between which sides it goes",
                    scenario.file, edge.mode, needs.version_min, side, version));
  };
  const bool completes = edge.expect == record::kExpectCompletes;
  if (!needs.version_min.empty() && base::older_version(from, needs.version_min)) return lacks(edge.from, from);
  // A destination that lacks it may take the guest all the same: who says so by name has tried it.
  const bool declared = is_declared(scenario, edge);
  if (!needs.version_min.empty() && completes && !declared && base::older_version(to, needs.version_min)) {
    return lacks(edge.to, to);
  }
  const bool back = base::older_version(base::major_minor(to), base::major_minor(from));
  if (back && !needs.upgrade_only.empty() && !declared) {
    return fail(ErrorKind::bad_input,
                fmt::format("{}: migration.mode: {} from side {} ({}) back to side {} ({}) is not known to work: {}; "
                            "declare its outcome with [[migration.edge]] mode, from, to, expect, reason",
                            scenario.file, edge.mode, edge.from, from, edge.to, to, needs.upgrade_only));
  }
  return {};
}

}  // namespace

bool wants_ram_file(const Scenario& scenario) {
  return any_mode(scenario, [](const ops::ModeNeeds& needs) { return needs.ram_file; });
}

bool Preflight::aux_ram_share(const SideScenario& side) const {
  return wants_aux_ram_share && !base::older_version(qemu.at(side.qemu).version, kAuxRamShareSince);
}

Result<void> check_modes(const Scenario& scenario, Preflight& preflight) {
  preflight.wants_aux_ram_share = any_mode(scenario, [](const ops::ModeNeeds& needs) { return needs.aux_ram_share; });
  for (const Edge& edge : edges_of(scenario)) MIGSOAK_TRY(check_edge(scenario, preflight, edge));
  return {};
}

}  // namespace migsoak::preflight
