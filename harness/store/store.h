// Store: the run's record in SQLite (schema.sql). WAL, one transaction per iteration, the row before the spawn.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "record/finding.h"
#include "record/manifest.h"
#include "record/observation.h"
#include "record/run_end.h"

namespace migsoak::store {

// Every function may be called from any thread; no exception leaves the room. A database can be read while a run
// writes it.
class Store {
 public:
  // A new database; kind bad_input when the file exists already.
  static base::Result<std::unique_ptr<Store>> create(const std::string& path, const record::Manifest& manifest);
  // An existing one. kind bad_input: not there, not SQLite, not ours (application_id), corrupt, newer schema: each
  // said.
  static base::Result<std::unique_ptr<Store>> open(const std::string& path, bool writable = false);
  ~Store();

  const record::Manifest& manifest() const;
  const std::string& path() const;

  // The iteration's row, committed before anything spawns. A row left in `started` by a killed run is replaced and
  // noted as interrupted; a finished one is refused (kind bad_input). A run that had ended goes on: its end is taken
  // back.
  base::Result<void> begin(const record::Observation& observation);
  // Findings that are new or no longer what they were.
  struct FindingChanges {
    std::vector<record::Finding> changed;  // by fingerprint
    std::vector<std::string> gone;         // fingerprints
    std::vector<record::Exclusion> exclusions;
  };
  // The whole observation, what the judge says of it, and how that changes the findings, in one transaction. kind
  // environment: disk full, I/O error. After an error nothing of it is in the database, and finish() may be tried
  // again. A process of an earlier lineage of this lane, or of an earlier session, that has no end on record is closed.
  base::Result<void> finish(const record::Observation& observation, record::Verdict verdict,
                            const FindingChanges& changes = {});
  // Replaces all findings and exclusions (they are derived data).
  base::Result<void> replace_findings(const std::vector<record::Finding>& findings,
                                      const std::vector<record::Exclusion>& exclusions);
  // A resumed run is to go to another number of iterations.
  base::Result<void> plan_iterations(std::int64_t iterations);
  // The run's end: verdict and why it ended (record::end_reason).
  base::Result<void> end_run(record::Verdict verdict, const std::string& reason);

  // Worst first, as the judge sorts them.
  base::Result<std::vector<record::Finding>> findings() const;
  base::Result<std::vector<record::Exclusion>> exclusions() const;
  // Finished iterations in order, streamed (lane order = iteration order). Stops when `visit` returns an error.
  // Each observation equals the one given to finish().
  base::Result<void> for_each_observation(
      const std::function<base::Result<void>(const record::Observation&)>& visit) const;
  base::Result<record::Observation> observation(std::int64_t iteration) const;
  // Events of one kind (record::event_kind), of finished iterations in order, and nothing else of them. Stops when
  // `visit` returns an error; it must not call back into the store.
  base::Result<void> for_each_event(
      const std::string& kind,
      const std::function<base::Result<void>(std::int64_t iteration, const record::Event&)>& visit) const;
  // The same with what the event's iteration says of itself.
  struct EventPlace {
    std::int64_t iteration = 0;
    int lane = 0, lineage = 0;
    std::string source, destination;
  };
  base::Result<void> for_each_event_at(
      const std::string& kind,
      const std::function<base::Result<void>(const EventPlace&, const record::Event&)>& visit) const;
  // The first iteration of the lineage to which `iteration`, a finished one, belongs; nothing when it is none.
  base::Result<std::optional<std::int64_t>> lineage_begin(std::int64_t iteration) const;

  struct Summary {
    std::int64_t iterations_finished = 0;
    std::int64_t last_finished = -1;
    std::int64_t lineages = 0;
    std::int64_t iterations_interrupted = 0;  // rows that were begun and never finished
    std::string end_reason;                   // empty while running or after a kill
    std::optional<record::Verdict> verdict;   // of the run, when it ended
    std::int64_t ended_unix_ms = 0;
    std::map<std::string, std::int64_t> by_status;
    std::int64_t last_process_id = 0;  // the largest ProcessInstance::id on record: a resumed run counts on from here
    int last_lineage = -1;             // the largest lineage number on record, -1 when there is none
  };
  base::Result<Summary> summary() const;
  // Values of one series at quiet points, by iteration.
  struct Point {
    std::int64_t iteration;
    double value;
  };
  base::Result<std::vector<Point>> series(const std::string& subject, const std::string& metric) const;

  // Series of one subject, counted and not listed: iterations that have a value, and how many of the values are not 0.
  // In the order of the metrics.
  struct SeriesTally {
    std::int64_t iterations = 0, not_zero = 0;
  };
  base::Result<std::vector<SeriesTally>> series_tallies(const std::string& subject,
                                                        const std::vector<std::string>& metrics) const;

  // The subject and metric of every series on record, sorted.
  struct SeriesName {
    std::string subject, metric;
    bool operator==(const SeriesName&) const = default;
  };
  base::Result<std::vector<SeriesName>> series_names() const;

  // The iterations' own rows, interrupted ones (status started) included, in order.
  struct IterationRow {
    std::int64_t iteration = 0;
    int lane = 0, lineage = 0;
    record::IterationStatus status = record::IterationStatus::started;
    std::optional<record::Verdict> verdict;  // none while started
    std::string source, destination, mode, transport, phase;
    std::int64_t started_unix_ms = 0;
    double duration_ms = 0;
    std::string machine;          // of the plan; empty in records of before there was a choice
    std::int64_t operations = 0;  // hotplug operations that the plan asked for
  };
  base::Result<std::vector<IterationRow>> iterations() const;
  // The same without holding them all, and with each the values that these series had in it: nothing where it was not
  // sampled. One pass, whatever is asked. `visit` must not call back into the store.
  using Values = std::vector<std::optional<double>>;
  base::Result<void> for_each_iteration(
      const std::vector<SeriesName>& series,
      const std::function<base::Result<void>(const IterationRow&, const Values&)>& visit) const;
  // How many iterations there are of each status and verdict, and how long they took.
  struct Tally {
    record::IterationStatus status = record::IterationStatus::started;
    std::optional<record::Verdict> verdict;
    std::int64_t count = 0;
    double duration_ms = 0;
  };
  base::Result<std::vector<Tally>> tallies() const;

  // Every process instance of finished iterations, in the order of their births.
  base::Result<void> for_each_process(
      const std::function<base::Result<void>(const record::ProcessInstance&)>& visit) const;

 private:
  struct Impl;
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// How far the run of a database came.
base::Result<record::RunEnd> run_end(const Store& store, const Store::Summary& summary);

}  // namespace migsoak::store
