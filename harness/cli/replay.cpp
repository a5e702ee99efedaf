#include <fmt/format.h>

#include <memory>
#include <optional>

#include "base/text.h"
#include "cli/commands.h"
#include "engine/campaign.h"
#include "plan/load.h"
#include "report/report.h"

namespace migsoak::cli {

namespace {

struct ReplayArguments {
  std::string db, out;
  std::int64_t iteration = 0;
  bool no_progress = false;
};

// The first iteration of the lineage to which `iteration` belongs: the beginning of its history.
base::Result<std::int64_t> history_begin(const store::Store& store, std::int64_t iteration) {
  MIGSOAK_ASSIGN(const std::optional<std::int64_t> begin, store.lineage_begin(iteration));
  if (!begin) {
    return base::fail(base::ErrorKind::bad_input,
                      fmt::format("{}: iteration {} was not finished in this run; `migsoak report` "
                                  "tells how many were",
                                  store.path(), iteration));
  }
  return *begin;
}

base::Result<engine::CampaignResult> replay(const ReplayArguments& arguments, const proc::StopRequest& stop) {
  engine::CampaignOptions options;
  scenario::Scenario scenario;
  {
    MIGSOAK_ASSIGN(const auto store, store::Store::open(arguments.db));
    const record::Manifest& manifest = store->manifest();
    if (const auto command = base::json_get(manifest.environment, "command", std::string()); !command.empty()) {
      return base::fail(base::ErrorKind::bad_input,
                        fmt::format("{}: this is no run's database but what a command recorded; repeat it with: {}",
                                    arguments.db, base::printable(command, 4096)));
    }
    MIGSOAK_ASSIGN(options.first_iteration, history_begin(*store, arguments.iteration));
    MIGSOAK_ASSIGN(scenario, plan::parse_scenario(manifest.scenario_text, arguments.db, manifest.scenario_dir,
                                                  {fmt::format("iterations={}", arguments.iteration + 1)}));
  }
  options.db_path = arguments.out;
  options.progress = !arguments.no_progress;
  fmt::print(stderr, "replaying iterations {} to {} of {}\n", options.first_iteration, arguments.iteration,
             arguments.db);
  return engine::run_campaign(scenario, options, stop);
}

}  // namespace

void add_replay(CLI::App& app, Session& session) {
  auto arguments = std::make_shared<ReplayArguments>();
  CLI::App* command = app.add_subcommand(
      "replay", "Run an iteration's history again: its guest's life from boot to that iteration, as recorded");
  command->add_option("DB", arguments->db, "Database of a run")->required();
  command->add_option("--iteration", arguments->iteration, "N, counted from 0")
      ->required()
      ->check(CLI::NonNegativeNumber);
  command->add_option("--db,--out", arguments->out, "Database to write (default as for run)");
  command->add_flag("--no-progress", arguments->no_progress, "No progress on stderr");
  command->callback([arguments, &session] {
    const auto result = replay(*arguments, session.stop);
    if (!result) {
      session.exit_status = complain(result.error());
      return;
    }
    fmt::print("{}: {}\n", result->db_path, record::to_string(result->verdict));
    if (const auto store = store::Store::open(result->db_path)) {
      if (const auto text = report::findings_text(**store); text && !text->empty()) print(*text);
    }
    session.exit_status = result->exit_status();
  });
}

}  // namespace migsoak::cli
