#include "engine/recorder.h"

#include <algorithm>

#include "base/text.h"

namespace migsoak::engine {

using base::Result;

Recorder::Recorder(store::Store& store) : store_(store), judge_(store.manifest()) {}

Result<void> Recorder::relive(const std::function<void(const record::Observation&)>& visit) {
  const std::lock_guard lock(mutex_);
  MIGSOAK_TRY(store_.for_each_observation([&](const record::Observation& observation) -> Result<void> {
    judge_.observe(observation);
    visit(observation);
    for (const auto& process : observation.processes_born) last_process_id_ = std::max(last_process_id_, process.id);
    lineages_ = std::max(lineages_, observation.lineage + 1);
    ++finished_;
    return {};
  }));
  for (const record::Finding& finding : judge_.findings()) known_.insert(finding.fingerprint);
  return {};
}

Result<void> Recorder::begin(const record::Observation& observation) {
  const std::lock_guard lock(mutex_);
  return store_.begin(observation);
}

Result<std::vector<record::Finding>> Recorder::finish(const record::Observation& observation) {
  const std::lock_guard lock(mutex_);
  judge_.observe(observation);
  ++finished_;
  MIGSOAK_TRY(store_.finish(observation, judge_.verdict_of(observation.iteration)));
  std::vector<record::Finding> fresh;
  base::Json all = base::Json::array();
  const std::vector<record::Finding> findings = judge_.findings();
  for (const record::Finding& finding : findings) {
    if (known_.insert(finding.fingerprint).second) fresh.push_back(finding);
    all.push_back(record::to_json(finding));
  }
  // Findings are derived data; they are kept up to date so that a killed run's database shows them without `judge`.
  std::string written = base::content_hash(base::dump_json(all));
  if (written != last_findings_ && !findings.empty()) {
    MIGSOAK_TRY(store_.replace_findings(findings, judge_.exclusions()));
    last_findings_ = std::move(written);
  }
  return fresh;
}

Result<void> Recorder::end(const record::RunEnd& end) {
  const std::lock_guard lock(mutex_);
  MIGSOAK_TRY(store_.replace_findings(judge_.findings(), judge_.exclusions()));
  return store_.end_run(record::verdict_of_run(end, judge_.verdict()), end.reason);
}

record::Verdict Recorder::verdict() const {
  const std::lock_guard lock(mutex_);
  return judge_.verdict();
}
std::vector<record::Finding> Recorder::findings() const {
  const std::lock_guard lock(mutex_);
  return judge_.findings();
}
std::int64_t Recorder::next_process_id() {
  const std::lock_guard lock(mutex_);
  return ++last_process_id_;
}
int Recorder::next_lineage() {
  const std::lock_guard lock(mutex_);
  return lineages_++;
}
std::int64_t Recorder::finished() const {
  const std::lock_guard lock(mutex_);
  return finished_;
}

}  // namespace migsoak::engine
