// Inside fd-leak: who is alive, since when. Built from the births and deaths that the probes saw.
//
// What an exec hands down lives on in the pid's next generation (record::DescriptorBirth), so entries belong to a life:
// all instances of one pid, known by any of their ids.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>

#include "base/json.h"
#include "record/observation.h"

namespace migsoak::detect {

class FdLedger {
 public:
  void observe(const record::Observation& observation);
  // Deaths of a process in the last observation: descriptors of the connection that was replaced.
  int deaths_of(std::int64_t process_id) const;
  // Descriptors of that kind that were born at or after `since` and have outlived their siblings: bounded list, and how
  // many there are of each detail. Null when the process is not known.
  base::Json survivors(std::int64_t process_id, const std::string& kind, std::int64_t since, std::int64_t now) const;

 private:
  struct Entry {
    std::int64_t born;
    std::string kind, detail;
    std::string image;  // name of the process that was first seen with it
    int execs = 0;      // how many it has outlived
  };
  using Entries = std::map<int, Entry>;
  struct Life {
    std::string name;                 // of the newest instance
    std::int64_t newest = 0;          // process id
    bool has_execed = false;          // and the new image's births have not come yet
    std::deque<std::int64_t> before;  // the images before it that are known, oldest first
    Entries alive;
  };
  void begin(const record::ProcessInstance& process);
  void take_births(const record::Observation& observation);
  void end(std::int64_t process_id);
  Life& life_of(std::int64_t process_id);
  const Life* find_life(std::int64_t process_id) const;

  std::map<std::int64_t, Life> lives_;                                    // by the first instance's id
  std::map<std::int64_t, std::int64_t> first_of_;                         // process id -> that
  std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t> by_pid_;  // pid, start_ticks -> that
  std::map<std::int64_t, int> deaths_;
};

}  // namespace migsoak::detect
