// Recorder: what lanes hand their observations to. Owns the order "row, spawn, judge, commit"; thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "detect/judge.h"
#include "record/run_end.h"
#include "store/store.h"

namespace migsoak::engine {

class Recorder {
 public:
  // `store` is borrowed and must outlive this.
  explicit Recorder(store::Store& store);

  // Lets the judge, and `visit`, see what earlier sessions of this run recorded (--resume).
  base::Result<void> rebuild_judge_state(const std::function<void(const record::Observation&)>& visit);

  base::Result<void> begin(const record::Observation& observation);
  // Judges, and commits the observation, its verdict and the findings that it changed as one. Returns those that are
  // new.
  base::Result<std::vector<record::Finding>> finish(const record::Observation& observation);
  base::Result<void> end(const record::RunEnd& end);

  record::Verdict verdict() const;
  std::vector<record::Finding> findings() const;
  // Unique in the run, from 1.
  std::int64_t next_process_id();
  int next_lineage();
  std::int64_t finished() const;

 private:
  store::Store& store_;
  mutable std::mutex mutex_;
  detect::Judge judge_;
  store::Store::FindingChanges changes() const;
  void written(const store::Store::FindingChanges& changes);

  std::set<std::string> known_;  // fingerprints
  // As the database has them, to write only what changed.
  std::uint64_t written_revision_ = 0;
  std::map<std::string, record::Finding> written_findings_;  // by fingerprint
  std::vector<record::Exclusion> written_exclusions_;
  std::int64_t last_process_id_ = 0;
  int lineages_ = 0;
  std::int64_t finished_ = 0;
};

}  // namespace migsoak::engine
