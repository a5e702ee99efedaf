// Campaign: a whole run. Raises containment and database, runs the lanes, ends everything, tells how it went.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "engine/plan_types.h"
#include "proc/reactor.h"
#include "record/finding.h"

namespace migsoak::engine {

struct CampaignOptions {
  std::string db_path;  // empty: results/runs/<scenario>-<UTC time>/results.db below the working directory
  bool resume = false;
  bool stop_on_finding = false;
  bool progress = true;
  int lanes = 1;
  std::optional<std::chrono::seconds> duration;
  std::int64_t first_iteration = 0;  // replay starts elsewhere
};

struct CampaignResult {
  std::string db_path;
  record::Verdict verdict = record::Verdict::unknown;
  bool interrupted = false;
  std::string reason;  // record::end_reason
  int exit_status() const;
};

base::Result<CampaignResult> run_campaign(const Scenario& scenario, const CampaignOptions& options,
                                          const proc::StopRequest& stop);

}  // namespace migsoak::engine
