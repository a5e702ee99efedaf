#include <memory>

#include "base/json.h"
#include "cli/commands.h"
#include "report/report.h"

namespace migsoak::cli {

void add_findings(CLI::App& app, Session& session) {
  struct Arguments {
    std::string db;
    bool json = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("findings", "Show what was found");
  command->add_option("db", arguments->db, "Database of a run")->required();
  command->add_flag("--json", arguments->json, "One JSON object");
  command->callback([arguments, &session] {
    const auto run = [&]() -> base::Result<void> {
      MIGSOAK_ASSIGN(const auto store, store::Store::open(arguments->db));
      if (arguments->json) {
        MIGSOAK_ASSIGN(const base::Json json, report::findings_json(*store));
        print(json.dump(2, ' ', false, base::Json::error_handler_t::replace));
      } else {
        MIGSOAK_ASSIGN(const std::string text, report::findings_text(*store));
        print(text);
      }
      return {};
    };
    const auto done = run();
    session.exit_status = done ? kExitPass : complain(done.error());
  });
}

}  // namespace migsoak::cli
