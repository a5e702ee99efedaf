// What an iteration reads: the catalogue (reads.def), and how the record says what came of it. A read that was wanted
// is a sample of the subject "host", 1 when it was whole and 0 when it was not; one that failed is an event as well
// (event_kind::kReadFailed). What is not read by design is neither.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "record/journal.h"

namespace migsoak::record {

struct ReadInfo {
  std::string name, words, detectors;  // names of detectors, separated by blanks
};
const std::vector<ReadInfo>& reads();

// "read.config-space".
std::string read_metric(const std::string& name);

// A read that was wanted of a process and failed, or was cut short.
struct FailedRead {
  std::string read;  // a name of reads.def
  std::string subject;
  std::int64_t process_id = 0;
  std::string why;
  std::string phase;  // in which it failed, and when, since the iteration began
  double at_ms = 0;
};
void record_failed_read(const FailedRead& failed, Journal& journal);

}  // namespace migsoak::record
