#include "gate/gate.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <filesystem>
#include <memory>

#include "base/text.h"
#include "cli/commands.h"
#include "gate/baseline.h"
#include "store/store.h"

namespace migsoak::cli {

namespace {

struct GateArguments {
  std::string db, baseline, policy, markdown;
  bool json = false, print_policy = false;
};

// Null: a directory that has none, which is told.
base::Result<std::unique_ptr<store::Store>> open_baseline(const std::string& path, const store::Store& run) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored)) {
    MIGSOAK_ASSIGN(auto store, store::Store::open(path), "--baseline");
    return store;
  }
  MIGSOAK_ASSIGN(const gate::Baseline found, gate::newest_that_passed(path, run));
  if (found.path.empty()) {
    spdlog::warn(
        "--baseline {}: of {} runs in it none is an earlier one of this scenario that passed; compared with nothing",
        base::printable(path), found.looked_at);
    return std::unique_ptr<store::Store>();
  }
  MIGSOAK_ASSIGN(auto store, store::Store::open(found.path), "--baseline");
  return store;
}

base::Result<int> run_gate(const GateArguments& arguments) {
  gate::Policy policy;
  if (!arguments.policy.empty()) {
    MIGSOAK_ASSIGN(policy, gate::load_policy(arguments.policy));
  }
  if (arguments.print_policy) {
    print(gate::to_toml(policy));
    return kExitPass;
  }
  if (arguments.db.empty()) {
    return base::fail(base::ErrorKind::bad_input,
                      "gate: expected the database of a run, such as results/runs/…/results.db, or --print-policy");
  }
  MIGSOAK_ASSIGN(const auto store, store::Store::open(arguments.db));
  std::unique_ptr<store::Store> baseline;
  if (!arguments.baseline.empty()) {
    MIGSOAK_ASSIGN(baseline, open_baseline(arguments.baseline, *store));
  }
  MIGSOAK_ASSIGN(const gate::Decision decision, gate::gate(*store, baseline.get(), policy, gate::today()));
  if (!arguments.markdown.empty()) {
    MIGSOAK_TRY(write_file("--markdown", arguments.markdown, gate::markdown_of(decision)));
  }
  if (arguments.json) {
    print(gate::to_json(decision).dump(2, ' ', false, base::Json::error_handler_t::replace));
  } else {
    print(gate::text_of(decision));
  }
  return status_of(decision.verdict);
}

}  // namespace

void add_gate(CLI::App& app, Session& session) {
  auto arguments = std::make_shared<GateArguments>();
  CLI::App* command = app.add_subcommand("gate", "Pass, fail or unknown: by a policy, and against a baseline");
  command->add_option("db", arguments->db, "Database of a run");
  command->add_option("--baseline", arguments->baseline,
                      "An earlier run to compare with: its database, or a directory of databases");
  command->add_option("--policy", arguments->policy, "TOML file with limits and waivers (results/README.md)");
  command->add_flag("--json", arguments->json, "One JSON object");
  command->add_option("--markdown", arguments->markdown, "Write a summary for a merge request to this file");
  command->add_flag("--print-policy", arguments->print_policy, "Print the policy with its defaults as TOML, and end");
  command->callback([arguments, &session] {
    const base::Result<int> status = run_gate(*arguments);
    session.exit_status = status ? *status : complain(status.error());
  });
}

}  // namespace migsoak::cli
