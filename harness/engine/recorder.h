// Recorder: what lanes hand their observations to. Owns the order "row, spawn, judge, commit"; thread-safe.
#pragma once

#include <functional>
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
  base::Result<void> relive(const std::function<void(const record::Observation&)>& visit);

  base::Result<void> begin(const record::Observation& observation);
  // Judges, commits the observation and the findings as they stand now. Returns the findings that are new.
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
  std::set<std::string> known_;  // fingerprints
  std::string last_findings_;    // as last written, to write only what changed
  std::int64_t last_process_id_ = 0;
  int lineages_ = 0;
  std::int64_t finished_ = 0;
};

}  // namespace migsoak::engine
