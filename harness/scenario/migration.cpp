// [migration] of a scenario: modes, route, and the edges that are declared.
#include <fmt/format.h>

#include <algorithm>

#include "ops/modes/mode.h"
#include "record/plan.h"
#include "scenario/check.h"
#include "scenario/table_reader.h"

namespace migsoak::scenario {

using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

Result<void> read_modes(const TableReader& in, Scenario& scenario) {
  if (in.table()["mode"].is_table()) {
    std::vector<std::string> known;
    for (const ops::Mode& mode : ops::modes()) known.push_back(mode.name);
    return in.read_weights("mode", known, scenario.modes);
  }
  std::vector<std::string> names = {"precopy"};
  in.read_list("mode", names);
  for (const std::string& name : names) {
    if (std::string why = unknown_mode(name); !why.empty()) return in.error("mode", why);
    scenario.modes.emplace_back(name, 1);
  }
  if (names.empty()) return in.error("mode", "needs at least one mode");
  return {};
}

Result<void> read_sides(const TableReader& in, const char* key, const Scenario& scenario,
                        std::vector<std::string>& out) {
  in.read_list(key, out);
  std::vector<std::string> known;
  for (const SideScenario& side : scenario.sides) known.push_back(side.name);
  for (const std::string& side : out) MIGSOAK_TRY(in.check_choice(key, side, known));
  return {};
}

Result<void> read_edge(const TableReader& in, Scenario& scenario) {
  EdgeScenario edge;
  edge.expect = record::kExpectCompletes;
  in.read("mode", edge.mode);
  if (std::string why = unknown_mode(edge.mode); !why.empty()) return in.error("mode", why);
  MIGSOAK_TRY(read_sides(in, "from", scenario, edge.from));
  MIGSOAK_TRY(read_sides(in, "to", scenario, edge.to));
  MIGSOAK_TRY(
      in.read_choice("expect", edge.expect, {record::kExpectCompletes, record::kExpectRefused, record::kExpectLost}));
  in.read("reason", edge.reason);
  MIGSOAK_TRY(in.read_integer("at", edge.at, 0, 100'000'000));
  if (edge.expect != record::kExpectCompletes && edge.reason.empty()) {
    return in.error("reason", fmt::format("an edge that is declared \"{}\" needs a reason = \"…\"", edge.expect));
  }
  if (edge.at >= 0 && (edge.from.size() != 1 || edge.to.size() != 1)) {
    return in.error("at", "an edge of one iteration needs one side in from and one in to");
  }
  if (edge.expect == record::kExpectLost && edge.at < 0) {
    return in.error("at", "an edge that loses the guest ends its lineage: say in which iteration, at = N");
  }
  scenario.edges.push_back(std::move(edge));
  return {};
}

}  // namespace

Result<void> read_migration(const TableReader& in, Scenario& scenario) {
  MIGSOAK_TRY(read_modes(in, scenario));
  MIGSOAK_TRY(in.read_choice("transport", scenario.transport, transport_choices()));
  std::string route = "ping-pong";
  MIGSOAK_TRY(in.read_choice("route", route, {"ping-pong", "round-robin", "random", "pairs"}));
  scenario.route = route == "ping-pong"     ? Route::ping_pong
                   : route == "random"      ? Route::random
                   : route == "round-robin" ? Route::round_robin
                                            : Route::pairs;
  static const toml::table kNone;
  const toml::table* libvirt = in.table()["libvirt"].as_table();
  MIGSOAK_TRY(
      read_libvirt(TableReader(libvirt != nullptr ? *libvirt : kNone, in.file(), "migration.libvirt"), scenario));
  const toml::array* edges = in.table()["edge"].as_array();
  for (std::size_t i = 0; edges != nullptr && i < edges->size(); ++i) {
    MIGSOAK_TRY(read_edge(TableReader(*edges->get_as<toml::table>(i), in.file(), "migration.edge"), scenario));
  }
  return {};
}

Result<void> check_migration(const toml::table& root, const Scenario& scenario) {
  const auto bad = [&](const char* key, const std::string& what) {
    const toml::node* node = root["migration"][key].node();
    const auto line = node != nullptr ? node->source().begin.line : 0;
    return fail(ErrorKind::bad_input, fmt::format("{}:{}: migration.{}: {}", scenario.file, line, key, what));
  };
  if (scenario.route == Route::pairs && !scenario.edges.empty()) {
    return bad("edge", "goes with routes other than \"pairs\", which sends each pair to and fro");
  }
  for (const EdgeScenario& edge : scenario.edges) {
    const std::int64_t length = scenario.lineage_iterations;
    const bool last = edge.at + 1 == scenario.iterations || (length > 0 && (edge.at + 1) % length == 0);
    if (edge.expect == record::kExpectLost && !last && edge.at < scenario.iterations) {
      return bad("edge", fmt::format("{} at = {} loses the guest: it has to be the last iteration of a lineage",
                                     edge.mode, edge.at));
    }
  }
  return {};
}

}  // namespace migsoak::scenario
