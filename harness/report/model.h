// ReportModel: what is told of a run, as a plain value computed from the database alone. Every output renders it
// (text.cpp, junit.cpp, markdown.cpp, metrics.cpp); what it holds is as it was recorded, so whoever shows it escapes
// it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "record/finding.h"
#include "record/manifest.h"
#include "record/observation.h"
#include "record/run_end.h"
#include "report/coverage.h"
#include "report/expected_trouble.h"
#include "report/figures.h"
#include "report/matrix.h"
#include "report/reads.h"
#include "report/requested.h"
#include "report/upgrades.h"

namespace migsoak::report {

struct RunFacts {
  std::string name, scenario, migsoak_version;
  std::string database;  // path
  std::uint64_t seed = 0;
  std::vector<record::SideInfo> sides;
  base::Json environment = base::Json::object();
  bool ended = false;      // its end is on record
  std::string end_reason;  // as recorded
  std::map<std::string, std::int64_t> by_status;
  std::int64_t finished = 0, lineages = 0, interrupted = 0;
};

// How a run went, as every output tells it.
struct Outcome {
  record::Verdict verdict = record::Verdict::unknown;
  record::RunEnd end;
  // "nothing found in 2 of 200 iterations, but the run was interrupted"; "3 found". One line, printable.
  std::string found;
};

inline constexpr std::size_t kFindingsDrawnMax = 5;  // the first ones: with their series

// A series at quiet points.
struct Course {
  std::string subject, metric;
  std::vector<double> values;  // in the order of iterations
};

struct ReportedFinding {
  record::Finding finding;  // with its replay command
  // "since iteration 0 · proven at 9 · 4 per iteration"; how sure that is; a defect of the builds that can explain it.
  std::string course, confidence, known;
  std::vector<EvidenceLine> evidence;  // what explains most first
  std::vector<EvidenceLine> brief;     // of it, what is short and not in the title
  Course shows;                        // the series that shows it best, of the first kFindingsDrawnMax
};

// Of values in ms; all 0 when there are none.
struct Distribution {
  std::size_t count = 0;
  double p50 = 0, p95 = 0, max = 0;
  // How many lie in each stretch of a logarithmic scale, where somebody wants to see that; empty when all are equal.
  std::vector<std::size_t> shape;
};

struct Downtime {
  std::string mode;
  Distribution clients, qemu;  // what the guest's clients see, and what QEMU says
};

struct Verified {
  double ram_bytes = 0, disk_bytes = 0, written_bytes = 0;
  std::int64_t iterations = 0;  // in which RAM was
};

struct IterationCase {
  std::int64_t iteration = 0;
  record::IterationStatus status = record::IterationStatus::started;
  std::optional<record::Verdict> verdict;
  std::string source, destination, mode, transport, phase;
  double duration_ms = 0;
  bool is_clean() const { return status != record::IterationStatus::started && verdict == record::Verdict::pass; }
};

// How many iterations there are of a status and verdict, and how long they took.
struct IterationTally {
  record::IterationStatus status = record::IterationStatus::started;
  std::optional<record::Verdict> verdict;
  std::int64_t count = 0;
  double duration_ms = 0;
};

// A million iterations are not held: they come one by one, in order, as often as asked.
class IterationCursor {
 public:
  virtual ~IterationCursor() = default;
  virtual base::Result<void> for_each_unclean(const std::function<void(const IterationCase&)>& visit) const = 0;
};

struct ReportModel {
  RunFacts run;
  Outcome outcome;
  std::vector<ReportedFinding> findings;  // worst first
  std::vector<record::Exclusion> exclusions;
  std::vector<ReadCount> reads;                       // N of M, and what can't be told for want of it
  std::shared_ptr<const IterationCursor> iterations;  // never null

  // --- for cases
  std::vector<IterationTally> tallies;

  // --- for cases and for a page
  std::optional<Matrix> matrix;  // its findings are indices into these

  // --- for a page
  Requested requested;
  Coverage hotplug;
  ExpectedTroubles troubles;
  Upgrades upgrades;
  std::vector<Course> descriptors;  // of targets and the harness
  Verified verified;
  Distribution durations;          // of finished iterations
  double span_ms = 0;              // from the first one's begin to the last one's end
  std::vector<Downtime> downtime;  // by mode, the most used first
};

}  // namespace migsoak::report
