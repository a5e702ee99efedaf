#include "engine/recorder.h"

#include <algorithm>
#include <utility>

namespace migsoak::engine {

using base::Result;

Recorder::Recorder(store::Store& store) : store_(store), judge_(store.manifest()) {}

Result<void> Recorder::rebuild_judge_state(const std::function<void(const record::Observation&)>& visit) {
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
  // Today's detectors may see it otherwise than those that wrote it.
  MIGSOAK_TRY(store_.replace_findings(judge_.findings(), judge_.exclusions()));
  written(changes());
  return {};
}

// What finish() has to write so that a killed run's database shows it all without `judge`.
store::Store::FindingChanges Recorder::changes() const {
  store::Store::FindingChanges changes;
  if (judge_.revision() == written_revision_) return changes;
  std::set<std::string> now;
  for (record::Finding& finding : judge_.findings()) {
    now.insert(finding.fingerprint);
    const auto before = written_findings_.find(finding.fingerprint);
    if (before == written_findings_.end() || before->second != finding) changes.changed.push_back(std::move(finding));
  }
  for (const auto& [fingerprint, finding] : written_findings_) {
    if (!now.contains(fingerprint)) changes.gone.push_back(fingerprint);
  }
  for (const record::Exclusion& exclusion : judge_.exclusions()) {
    const bool as_before =
        std::find(written_exclusions_.begin(), written_exclusions_.end(), exclusion) != written_exclusions_.end();
    if (!as_before) changes.exclusions.push_back(exclusion);
  }
  return changes;
}

void Recorder::written(const store::Store::FindingChanges& changes) {
  written_revision_ = judge_.revision();
  for (const record::Finding& finding : changes.changed) written_findings_[finding.fingerprint] = finding;
  for (const std::string& fingerprint : changes.gone) written_findings_.erase(fingerprint);
  if (!changes.exclusions.empty()) written_exclusions_ = judge_.exclusions();
}

Result<void> Recorder::begin(const record::Observation& observation) {
  const std::lock_guard lock(mutex_);
  return store_.begin(observation);
}

Result<std::vector<record::Finding>> Recorder::finish(const record::Observation& observation) {
  const std::lock_guard lock(mutex_);
  judge_.observe(observation);
  ++finished_;
  const store::Store::FindingChanges changed = changes();
  MIGSOAK_TRY(store_.finish(observation, judge_.verdict_of(observation.iteration), changed));
  written(changed);
  std::vector<record::Finding> fresh;
  for (const record::Finding& finding : changed.changed) {
    if (known_.insert(finding.fingerprint).second) fresh.push_back(finding);
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
