#include "detect/fd_ledger.h"

#include "detect/quiet_point.h"

namespace migsoak::detect {

namespace {
constexpr std::size_t kEntriesMax = 20000;  // per process; a limit beyond this makes the evidence partial, no more
// Images of one pid that are still asked for: the last one that played each side.
constexpr std::size_t kImagesKnown = 64;
constexpr std::size_t kSurvivorsListedMax = 16;
constexpr std::size_t kDetailsListedMax = 8;
constexpr std::int64_t kOutlivedIterations = 2;  // siblings are replaced by the next migration

// The ledger knows since when; without it, equal things have equal details.
std::string without_date(const std::string& detail) {
  constexpr std::string_view since = " since iteration ";
  const std::size_t prefix = std::string_view(record::kKeptOverExec).size();
  if (detail.compare(prefix, since.size(), since) != 0) return detail;
  const std::size_t end = detail.find_first_not_of("0123456789", prefix + since.size());
  return end == std::string::npos ? detail : detail.substr(0, prefix) + detail.substr(end);
}
}  // namespace

void FdLedger::observe(const record::Observation& observation) {
  for (const record::ProcessInstance& process : observation.processes_born) begin(process);
  deaths_.clear();
  for (const record::DescriptorDeath& death : observation.deaths) {
    ++deaths_[death.process_id];
    life_of(death.process_id).alive.erase(death.fd);
  }
  // A number that died and was born again in one iteration comes as both: deaths go first.
  take_births(observation);
  for (const record::ProcessEnd& ended : observation.processes_ended) end(ended.process_id);
}

void FdLedger::begin(const record::ProcessInstance& process) {
  const std::pair<std::int64_t, std::int64_t> pid{process.pid, process.start_ticks};
  const auto before = by_pid_.find(pid);
  if (process.generation == 0 || before == by_pid_.end()) {
    first_of_[process.id] = process.id;
    lives_[process.id].newest = process.id;
    lives_[process.id].name = process.name;
    by_pid_[pid] = process.id;
    return;
  }
  Life& life = lives_[before->second];
  first_of_[process.id] = before->second;
  life.newest = process.id;
  life.name = process.name;
  life.has_execed = true;
}

void FdLedger::take_births(const record::Observation& observation) {
  std::map<std::int64_t, Entries> held;  // process id -> what its life had before the exec
  for (const record::DescriptorBirth& birth : observation.births) {
    Life& life = life_of(birth.process_id);
    if (life.has_execed && birth.process_id == life.newest) {
      life.has_execed = false;
      held[birth.process_id] = std::exchange(life.alive, {});  // all that is left of it is listed again
    }
    if (life.alive.size() >= kEntriesMax && life.alive.count(birth.fd) == 0) continue;
    Entry entry{observation.iteration, birth.kind, birth.detail, life.name};
    if (starts_with(birth.detail, record::kKeptOverExec)) {
      entry.detail = without_date(birth.detail);
      const Entries& before = held[birth.process_id];
      const auto old = before.find(birth.fd);
      if (old != before.end() && old->second.kind == birth.kind) {
        entry.born = old->second.born;
        entry.image = old->second.image;
        entry.execs = old->second.execs;
      }
      ++entry.execs;
    }
    life.alive[birth.fd] = std::move(entry);
  }
}

void FdLedger::end(std::int64_t process_id) {
  const auto first = first_of_.find(process_id);
  if (first == first_of_.end()) return;
  const std::int64_t id = first->second;
  Life& life = lives_[id];
  if (life.newest != process_id) {  // an exec was its end
    life.before.push_back(process_id);
    if (life.before.size() <= kImagesKnown) return;
    first_of_.erase(life.before.front());
    life.before.pop_front();
    return;
  }
  lives_.erase(id);
  std::erase_if(first_of_, [id](const auto& entry) { return entry.second == id; });
  std::erase_if(by_pid_, [id](const auto& entry) { return entry.second == id; });
}

FdLedger::Life& FdLedger::life_of(std::int64_t process_id) {
  const auto [first, fresh] = first_of_.try_emplace(process_id, process_id);  // its birth may not be on record
  Life& life = lives_[first->second];
  if (fresh) life.newest = process_id;
  return life;
}

const FdLedger::Life* FdLedger::find_life(std::int64_t process_id) const {
  const auto first = first_of_.find(process_id);
  if (first == first_of_.end()) return nullptr;
  const auto life = lives_.find(first->second);
  return life == lives_.end() ? nullptr : &life->second;
}

int FdLedger::deaths_of(std::int64_t process_id) const {
  const auto found = deaths_.find(process_id);
  return found == deaths_.end() ? 0 : found->second;
}

base::Json FdLedger::survivors(std::int64_t process_id, const std::string& kind, std::int64_t since,
                               std::int64_t now) const {
  const Life* life = find_life(process_id);
  if (life == nullptr) return nullptr;
  base::Json listed = base::Json::array();
  std::map<std::string, std::int64_t> by_detail, by_image;
  std::int64_t total = 0, kept = 0, in_use = 0;
  for (const auto& [fd, entry] : life->alive) {
    if (entry.kind != kind || entry.born < since || now - entry.born < kOutlivedIterations) continue;
    if (starts_with(entry.detail, std::string(record::kKeptOverExec) + ", mapped")) {
      ++in_use;  // guest RAM and the like, handed down by name
      continue;
    }
    ++total;
    if (entry.execs > 0) {
      ++kept;
      ++by_image[entry.image];
    }
    if (by_detail.size() < kDetailsListedMax || by_detail.count(entry.detail) != 0) ++by_detail[entry.detail];
    if (listed.size() >= kSurvivorsListedMax) continue;
    listed.push_back({{"fd", fd}, {"born_iteration", entry.born}, {"detail", entry.detail}});
    if (entry.execs > 0) listed.back()["execs_outlived"] = entry.execs;
  }
  base::Json survivors = {{"count", total}, {"first", listed}, {"by_detail", by_detail}};
  if (kept > 0) {
    // Opened by these images, or left open by the ones before them when they exec'd.
    survivors["kept_over_exec"] = kept;
    survivors["first_seen_in"] = by_image;
  }
  if (in_use > 0) survivors["kept_in_use"] = in_use;
  return survivors;
}

}  // namespace migsoak::detect
