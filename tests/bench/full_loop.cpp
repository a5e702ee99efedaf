// The soak loop under measurement: a campaign, and its figures read back from its own record.
#include <fmt/format.h>

#include "block.h"
#include "engine/campaign.h"
#include "store/store.h"

namespace migsoak::bench {

using base::ErrorKind;
using base::Result;

Result<Block> run_full_block(const scenario::Scenario& scenario, const BlockSize& size, const std::string& db_path) {
  engine::CampaignOptions options;
  options.db_path = db_path;
  options.progress = false;
  const proc::StopRequest never;
  MIGSOAK_ASSIGN(const engine::CampaignResult result, engine::run_campaign(scenario, options, never));
  if (result.verdict != record::Verdict::pass || result.reason != "finished") {
    return base::fail(ErrorKind::subject,
                      fmt::format("{}: {}, {}", db_path, record::to_string(result.verdict), result.reason));
  }
  MIGSOAK_ASSIGN(const auto store, store::Store::open(db_path));
  Block block;
  std::int64_t began_ms = 0, ended_ms = 0, last_ms = 0;
  MIGSOAK_TRY(store->for_each_observation([&](const record::Observation& seen) -> Result<void> {
    const std::int64_t timed = seen.iteration - size.untimed;
    if (timed == 0) began_ms = seen.started_unix_ms;
    if (timed == size.timed) ended_ms = seen.started_unix_ms;
    if (timed > 0 && timed <= size.timed) {
      block.periods_ms.push_back(static_cast<double>(seen.started_unix_ms - last_ms));
    }
    last_ms = seen.started_unix_ms;
    if (timed < 0 || timed >= size.timed) return {};
    for (const record::Sample& sample : seen.samples) {
      const bool phase = sample.subject == "host" || sample.metric == "harness_ms" || sample.metric == "verify_ms" ||
                         sample.metric == "heartbeat_gap_ms" || sample.metric == "downtime_ms";
      if (phase && sample.metric.ends_with("_ms")) block.phases_ms[sample.metric].push_back(sample.value);
    }
    return {};
  }));
  if (ended_ms <= began_ms) return base::fail(ErrorKind::environment, db_path + ": not all iterations are on record");
  block.iterations_per_s = 1000.0 * size.timed / static_cast<double>(ended_ms - began_ms);
  return block;
}

}  // namespace migsoak::bench
