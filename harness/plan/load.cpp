#include "plan/load.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <utility>

#include "plan/hotplug_check.h"
#include "plan/route_plan.h"
#include "scenario/document.h"

namespace migsoak::plan {

using base::ErrorKind;
using base::fail;
using base::Result;
using scenario::Scenario;

namespace {

// What [[migration.edge]] and the modes say is possible: each leg has a mode.
Result<void> check_route(const toml::table& root, const Scenario& scenario) {
  RoutePlan route(scenario);
  for (const std::int64_t iteration : telling_iterations(scenario)) {
    const Leg leg = route.leg(iteration);
    if (leg.trouble.empty()) continue;
    const char* key = scenario.edges.empty() ? "mode" : "edge";
    const toml::node* node = root["migration"][key].node();
    const auto line = node != nullptr ? node->source().begin.line : 0;
    return fail(ErrorKind::bad_input,
                fmt::format("{}:{}: migration.{}: iteration {}: {}", scenario.file, line, key, iteration, leg.trouble));
  }
  return {};
}

}  // namespace

Result<Scenario> parse_scenario(const std::string& text, const std::string& file, const std::string& directory,
                                const std::vector<std::string>& sets) {
  MIGSOAK_ASSIGN(scenario::Document document, scenario::read_document(text, file, directory, sets));
  MIGSOAK_TRY(check_hotplug_plan(document.root, document.scenario));
  MIGSOAK_TRY(check_route(document.root, document.scenario));
  return std::move(document.scenario);
}

Result<Scenario> load_scenario(const std::string& file, const std::vector<std::string>& sets) {
  std::error_code error;
  if (std::filesystem::is_directory(file, error)) {
    return fail(ErrorKind::bad_input, fmt::format("{}: is a directory, expected a scenario file (.toml)", file));
  }
  std::ifstream in(file, std::ios::binary);
  if (!in) {
    return fail(ErrorKind::bad_input,
                fmt::format("{}: can't read this scenario file; `migsoak list scenarios` shows those that ship", file));
  }
  // A scenario is written by hand; a megabyte of it is a mistake (or not a scenario at all).
  std::string text(1 << 20, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.gcount() == static_cast<std::streamsize>(text.size())) {
    return fail(ErrorKind::bad_input, fmt::format("{}: larger than 1 MiB, not a scenario file", file));
  }
  text.resize(static_cast<std::size_t>(in.gcount()));
  const std::filesystem::path directory = std::filesystem::absolute(file, error).parent_path();
  return parse_scenario(text, file, directory.string(), sets);
}

}  // namespace migsoak::plan
