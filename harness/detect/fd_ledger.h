// Inside fd-leak: who is alive, since when. Built from the births and deaths that the probes saw.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/json.h"
#include "record/observation.h"

namespace migsoak::detect {

class FdLedger {
 public:
  void observe(const record::Observation& observation);
  void forget(std::int64_t process_id) { alive_.erase(process_id); }
  // Deaths of a process in the last observation: descriptors of the connection that was replaced.
  int deaths_of(std::int64_t process_id) const;
  // Descriptors of that kind that were born at or after `since` and have outlived their siblings: bounded list, and how
  // many there are of each detail.
  base::Json survivors(std::int64_t process_id, const std::string& kind, std::int64_t since, std::int64_t now) const;

 private:
  struct Entry {
    std::int64_t born;
    std::string kind, detail;
  };
  std::map<std::int64_t, std::map<int, Entry>> alive_;
  std::map<std::int64_t, int> deaths_;
};

}  // namespace migsoak::detect
