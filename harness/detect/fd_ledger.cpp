#include "detect/fd_ledger.h"

namespace migsoak::detect {

namespace {
constexpr std::size_t kEntriesMax = 20000;  // per process; a limit beyond this makes the evidence partial, no more
constexpr std::size_t kSurvivorsListedMax = 16;
constexpr std::size_t kDetailsListedMax = 8;
constexpr std::int64_t kOutlivedIterations = 2;  // siblings are replaced by the next migration
}  // namespace

void FdLedger::observe(const record::Observation& observation) {
  deaths_.clear();
  for (const record::DescriptorDeath& death : observation.deaths) {
    ++deaths_[death.process_id];
    if (const auto process = alive_.find(death.process_id); process != alive_.end()) process->second.erase(death.fd);
  }
  // A number that died and was born again in one iteration comes as both: deaths go first.
  for (const record::DescriptorBirth& birth : observation.births) {
    auto& process = alive_[birth.process_id];
    if (process.size() < kEntriesMax || process.count(birth.fd) != 0) {
      process[birth.fd] = {observation.iteration, birth.kind, birth.detail};
    }
  }
}

int FdLedger::deaths_of(std::int64_t process_id) const {
  const auto found = deaths_.find(process_id);
  return found == deaths_.end() ? 0 : found->second;
}

base::Json FdLedger::survivors(std::int64_t process_id, const std::string& kind, std::int64_t since,
                               std::int64_t now) const {
  const auto process = alive_.find(process_id);
  if (process == alive_.end()) return nullptr;
  base::Json listed = base::Json::array();
  std::map<std::string, std::int64_t> by_detail;
  std::int64_t total = 0;
  for (const auto& [fd, entry] : process->second) {
    if (entry.kind != kind || entry.born < since || now - entry.born < kOutlivedIterations) continue;
    ++total;
    if (by_detail.size() < kDetailsListedMax || by_detail.count(entry.detail) != 0) ++by_detail[entry.detail];
    if (listed.size() < kSurvivorsListedMax) {
      listed.push_back({{"fd", fd}, {"born_iteration", entry.born}, {"detail", entry.detail}});
    }
  }
  return {{"count", total}, {"first", listed}, {"by_detail", by_detail}};
}

}  // namespace migsoak::detect
