// Internal to report: hot upgrades, and what became of the processes.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace migsoak::report {

struct Upgrades {
  std::map<std::string, std::int64_t> by_mode;  // completed ones of modes that are upgrades (cpr-…)
  std::int64_t all = 0, most_of_one_guest = 0;
  std::int64_t lineages = 0;     // that were upgraded
  std::int64_t migrations = 0;   // completed iterations of any mode
  std::int64_t qemus = 0;        // QEMU processes, whatever their generations
  std::int64_t generations = 0;  // most exec generations of one pid, the first image not counted
};

// "500 of one guest (cpr-exec 500): 1 QEMU process, 500 exec generations of one pid". Empty when there were none.
std::string upgrades_text(const Upgrades& upgrades);

}  // namespace migsoak::report
