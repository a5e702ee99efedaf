// For report and gate: how much was read of what was to be read, and what can't be told for want of it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "report/page.h"

namespace migsoak::store {
class Store;
}

namespace migsoak::report {

struct ReadCount {
  std::string name, words, detectors;  // of record/reads.def
  std::int64_t wanted = 0, done = 0;   // iterations
  std::int64_t first_missed = -1;      // iteration; -1: none is on record
  std::string why;                     // of that
  std::int64_t missed() const { return wanted - done; }
};

// In the order of the catalogue, those that were wanted; empty for records of before they were counted.
base::Result<std::vector<ReadCount>> reads_of(const store::Store& store);
// "configuration space compared in 1498 of 1500 iterations, first missed in 7: ..."
std::string missed_text(const ReadCount& count);
void print_reads(Page& page, const std::vector<ReadCount>& counts);
// {"config-space": {"wanted": 1500, "done": 1498, "first_missed": 7, "why": ...}}
base::Json to_json(const std::vector<ReadCount>& counts);

}  // namespace migsoak::report
