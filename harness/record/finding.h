// Finding, Verdict and the policy that turns one into the other.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"

namespace migsoak::record {

enum class Severity { warn, fail };
enum class Blame { subject, harness, environment };
enum class Verdict { pass, unknown, fail };  // worst wins; in this order

std::string to_string(Severity severity);
std::string to_string(Blame blame);
std::string to_string(Verdict verdict);
base::Result<Severity> severity_from(const std::string& name);
base::Result<Blame> blame_from(const std::string& name);
base::Result<Verdict> verdict_from(const std::string& name);

// Keys without meaning for a detector stay empty and are left out of the JSON (design.md, "findings DB --json").
struct Finding {
  std::string detector;
  Severity severity = Severity::fail;
  Blame blame = Blame::subject;
  std::string process;                             // "target:disk0", "qemu:a", "harness", "guest"; may be empty
  std::string kind;                                // descriptor kind, or the detector's own subdivision
  std::optional<std::int64_t> first_iteration;     // where the trouble began
  std::optional<std::int64_t> detected_iteration;  // whose record proved it
  std::int64_t count = 1;                          // times seen (occurrences deduplicated into this finding)
  std::optional<double> rate_per_iteration;
  std::optional<std::int64_t> exhausts_at_iteration;
  std::string title;        // one line a person understands
  std::string fingerprint;  // stable across runs: no pids, no iteration numbers, no paths
  std::string replay;       // command; filled in when findings leave the database
  base::Json evidence = base::Json::object();

  bool operator==(const Finding&) const = default;
};

base::Json to_json(const Finding& finding);
base::Result<Finding> finding_from_json(const base::Json& json);

// fingerprint of (detector, process, kind, normalised text): digits, hex numbers and paths are folded first.
std::string fingerprint_of(const std::string& detector, const std::string& process, const std::string& kind,
                           const std::string& text = "");
std::string normalise_text(const std::string& text);

// [gate] of a scenario.
struct Waive {
  std::string detector;
  std::string device, from, to, kind, process;  // empty matches anything
  std::string restart;                          // how the disk's target was ended in that iteration; empty: anything
  std::string reason;                           // never empty
  bool operator==(const Waive&) const = default;
};
struct GatePolicy {
  std::map<std::string, Severity> severity;  // detector name -> severity; absent: fail
  std::map<std::string, double> limits;      // e.g. "downtime_ms_max"
  std::vector<Waive> waives;
  std::vector<std::string>
      report_benign;  // known-benign entries to report all the same (proves the list: removal brings the finding back)
  bool operator==(const GatePolicy&) const = default;
};
base::Json to_json(const GatePolicy& policy);
base::Result<GatePolicy> gate_policy_from_json(const base::Json& json);

// One thing that was seen and deliberately not reported; printed and counted in the report.
struct Exclusion {
  std::string name;  // of the known-benign entry, or "waive:<detector>"
  std::string detector;
  std::string reason;
  std::int64_t count = 0;

  bool operator==(const Exclusion&) const = default;
};

}  // namespace migsoak::record
