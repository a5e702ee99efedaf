// The gate: pass, fail or unknown of a run's record, each line with its reason. The rules are those of
// results/README.md, "The gate"; they follow osstest (findings by name, known ones do not block), Pinpoint (unknown is
// an answer) and Firecracker's A/B tests (significant and large).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "gate/policy.h"
#include "record/finding.h"

namespace migsoak::store {
class Store;
}

namespace migsoak::gate {

struct RunEvidence;

// One thing that was looked at. All strings are printable and bounded.
struct Line {
  std::string about;   // "run" | "read" | "finding" | "rate" | "compare" | "waiver"
  std::string name;    // of it: "fd-leak target:disk0 eventfd", "failures", "migration.downtime_ms precopy"
  std::string state;   // in a word: "new", "baseline", "waived", "within", "too few", …
  std::string reason;  // one line
  record::Verdict verdict = record::Verdict::unknown;
  base::Json figures = base::Json::object();  // for machines
};

struct Decision {
  std::string run, scenario, database;
  std::string baseline;  // its database; empty: none
  record::Verdict verdict = record::Verdict::unknown;
  std::vector<Line> lines;
};

// The pure half: decides on what was read. Worst wins; nothing but lines decides.
Decision decide(const RunEvidence& run, const RunEvidence* baseline, const Policy& policy, Day day);
// Reads both; `baseline` may be null. Errors are the store's; nothing is kept of either.
base::Result<Decision> gate(const store::Store& run, const store::Store* baseline, const Policy& policy, Day day);

// For people, for machines, for a merge request.
std::string text_of(const Decision& decision);
inline constexpr int kJsonSchema = 1;  // of to_json: goes up when a key changes its meaning or goes away
base::Json to_json(const Decision& decision);
std::string markdown_of(const Decision& decision);

}  // namespace migsoak::gate
