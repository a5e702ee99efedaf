// Internal to gate: RunEvidence, what a database has to say to a gate, as a plain value. What it holds is as it was
// recorded: whoever shows it escapes it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "gate/policy.h"
#include "record/finding.h"
#include "record/manifest.h"
#include "record/run_end.h"
#include "report/reads.h"

namespace migsoak::store {
class Store;
}

namespace migsoak::gate {

// What is compared with a baseline: a metric's values in one migration mode.
struct ValuesKey {
  std::string subject, metric, mode;
  auto operator<=>(const ValuesKey&) const = default;
};

struct RunEvidence {
  std::string database;  // path
  record::Manifest manifest;
  record::RunEnd end;
  record::Verdict recorded = record::Verdict::unknown;  // by the run itself; unknown while it goes on
  std::vector<record::Finding> findings;                // with their replay commands, worst first
  std::vector<report::ReadCount> reads;
  std::int64_t harness_errors = 0;
  std::string first_harness_error;

  // Iterations. Told are the finished ones of which something can be said; the others are `untold`.
  std::int64_t told = 0, untold = 0;
  // Of those told, and not excused by the scenario: the migration failed or the guest was lost; something did not
  // answer by its deadline; the guest or a target was lost.
  std::int64_t failures = 0, hangs = 0, losses = 0;

  std::vector<std::int64_t> started_unix_ms;  // of those told, ascending

  std::map<ValuesKey, std::vector<double>> values;  // ascending, finite; of iterations that completed
};

// Of a metric's subject or name that the record does not have there is nothing in `values`.
base::Result<RunEvidence> evidence_of(const store::Store& store, const std::vector<Metric>& metrics);

}  // namespace migsoak::gate
