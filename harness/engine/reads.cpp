#include "engine/reads.h"

#include <algorithm>

namespace migsoak::engine {

void Reads::failed(const std::string& read, const std::string& subject, std::int64_t process_id,
                   const std::string& why) {
  failed_.push_back({read, subject, process_id, why, journal_.phase(), journal_.at_ms()});
}

void Reads::conclude() {
  const record::Observation& into = journal_.observation();
  for (const record::FailedRead& failed : failed_) {
    const bool ended = std::any_of(into.processes_ended.begin(), into.processes_ended.end(), [&](const auto& end) {
      return end.process_id == failed.process_id && !end.expected;
    });
    if (!ended) record::record_failed_read(failed, journal_);
  }
  failed_.clear();
  for (const record::Event& event : into.events) {
    if (event.kind != record::event_kind::kReadFailed) continue;
    whole_[base::json_get<std::string>(event.detail, "read", "")] = false;
  }
  for (const record::ReadInfo& read : record::reads()) {
    const auto known = whole_.find(read.name);
    if (known == whole_.end()) continue;
    journal_.sample("host", 0, record::read_metric(read.name), known->second ? 1.0 : 0.0);
  }
}

}  // namespace migsoak::engine
