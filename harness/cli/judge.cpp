#include <memory>

#include "cli/commands.h"
#include "detect/judge.h"
#include "report/report.h"
#include "store/store.h"

namespace migsoak::cli {

namespace {

base::Result<record::Verdict> judge(const std::string& path) {
  MIGSOAK_ASSIGN(const auto store, store::Store::open(path, /*writable=*/true));
  detect::Judge judge(store->manifest());
  MIGSOAK_TRY(store->for_each_observation([&judge](const record::Observation& observation) -> base::Result<void> {
    judge.observe(observation);
    return {};
  }));
  // Findings are derived data: those of today's detectors take the place of the old ones.
  MIGSOAK_TRY(store->replace_findings(judge.findings(), judge.exclusions()));
  MIGSOAK_ASSIGN(const store::Store::Summary summary, store->summary());
  MIGSOAK_ASSIGN(const record::RunEnd end, store::run_end(*store, summary));
  const record::Verdict verdict = record::verdict_of_run(end, judge.verdict());
  if (!summary.end_reason.empty()) MIGSOAK_TRY(store->end_run(verdict, summary.end_reason));
  MIGSOAK_ASSIGN(const std::string text, report::findings_text(*store));
  print(text);
  return verdict;
}

}  // namespace

void add_judge(CLI::App& app, Session& session) {
  auto db = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("judge", "Let today's detectors judge an old record; replaces its findings");
  command->add_option("db", *db, "Database of a run")->required();
  command->callback([db, &session] {
    const auto verdict = judge(*db);
    session.exit_status = verdict ? status_of(*verdict) : complain(verdict.error());
  });
}

}  // namespace migsoak::cli
