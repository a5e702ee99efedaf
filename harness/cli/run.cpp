#include <fmt/format.h>

#include <charconv>
#include <memory>

#include "base/json.h"
#include "cli/commands.h"
#include "engine/campaign.h"
#include "plan/load.h"
#include "plan/planner.h"
#include "record/plan.h"
#include "report/report.h"

namespace migsoak::cli {

namespace {

struct RunArguments {
  std::string scenario, db, duration;
  std::optional<std::int64_t> iterations;
  std::optional<std::uint64_t> seed;
  std::vector<std::string> sets;
  int lanes = 1;
  bool resume = false, stop_on_finding = false, no_progress = false, dry_run = false;
};

// "8h", "90m", "45s" or seconds.
base::Result<std::chrono::seconds> parse_duration(const std::string& text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string unit(end, text.data() + text.size());
  const std::int64_t factor = unit.empty() || unit == "s" ? 1
                              : unit == "m"               ? 60
                              : unit == "h"               ? 3600
                              : unit == "d"               ? 86400
                                                          : 0;
  if (error != std::errc() || number <= 0 || factor == 0 || number > 1'000'000) {
    return base::fail(base::ErrorKind::bad_input, fmt::format("--duration '{}': write e.g. 8h, 90m or 45s", text));
  }
  return std::chrono::seconds(number * factor);
}

base::Result<scenario::Scenario> load(const RunArguments& arguments) {
  std::vector<std::string> sets = arguments.sets;
  if (arguments.iterations) sets.push_back(fmt::format("iterations={}", *arguments.iterations));
  if (arguments.seed) sets.push_back(fmt::format("seed={}", *arguments.seed));
  return plan::load_scenario(arguments.scenario, sets);
}

void show_dry_run(const scenario::Scenario& scenario) {
  print(scenario.text);
  print("# first plans");
  for (std::int64_t index = 0; index < std::min<std::int64_t>(5, scenario.iterations); ++index) {
    print("# " + base::dump_json(record::to_json(plan::plan_iteration(scenario, index))));
  }
}

int run(const RunArguments& arguments, const Session& session) {
  const auto scenario = load(arguments);
  if (!scenario) return complain(scenario.error());
  engine::CampaignOptions options;
  if (!arguments.duration.empty()) {
    const auto duration = parse_duration(arguments.duration);
    if (!duration) return complain(duration.error());
    options.duration = *duration;
  }
  if (arguments.dry_run) {
    show_dry_run(*scenario);
    return kExitPass;
  }
  options.db_path = arguments.db;
  options.resume = arguments.resume;
  options.stop_on_finding = arguments.stop_on_finding;
  options.progress = !arguments.no_progress;
  options.lanes = arguments.lanes;
  const auto result = engine::run_campaign(*scenario, options, session.stop);
  if (!result) return complain(result.error());
  if (result->reason != "finished") fmt::print(stderr, "migsoak: {}\n", result->reason);
  fmt::print("{}: {}\n", result->db_path, record::to_string(result->verdict));
  const auto store = store::Store::open(result->db_path);
  if (store) {
    if (const auto text = report::findings_text(**store); text && !text->empty()) print(*text);
  }
  return result->exit_status();
}

}  // namespace

void add_run(CLI::App& app, Session& session) {
  auto arguments = std::make_shared<RunArguments>();
  CLI::App* command = app.add_subcommand("run", "Run a scenario and record everything it does");
  command->add_option("scenario", arguments->scenario, "Scenario file (.toml)")->required();
  command->add_option("--db", arguments->db,
                      "Database to write (default: results/runs/<scenario>-<UTC time>/results.db)");
  command->add_option("--iterations", arguments->iterations, "Iterations, instead of the scenario's")
      ->check(CLI::PositiveNumber);
  command->add_option("--seed", arguments->seed, "Seed, instead of the scenario's");
  command->add_option("--lanes", arguments->lanes, "Lineages side by side")->check(CLI::Range(1, 64));
  command->add_option("--set", arguments->sets, "PATH=VALUE: any key of the scenario, e.g. target.disk0.nofile=256")
      ->allow_extra_args(false);
  command->add_option("--duration", arguments->duration, "Stop after this time, e.g. 8h");
  command->add_flag("--resume", arguments->resume, "Go on with --db: do what is planned and not finished there");
  command->add_flag("--stop-on-finding", arguments->stop_on_finding, "End with the first finding");
  command->add_flag("--no-progress", arguments->no_progress, "No progress on stderr");
  command->add_flag("--dry-run", arguments->dry_run, "Print the resolved scenario and the first plans; start nothing");
  command->callback([arguments, &session] {
    if (arguments->resume && arguments->db.empty()) {
      session.exit_status =
          complain({base::ErrorKind::bad_input, "--resume needs --db, the database to go on with", {}});
      return;
    }
    session.exit_status = run(*arguments, session);
  });
}

}  // namespace migsoak::cli
