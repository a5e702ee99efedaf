// What an iteration reads: the catalogue (reads.def), and how the record says what came of it. A read that was wanted
// is a sample of the subject "host", 1 when it was whole and 0 when it was not; one that failed is an event as well
// (event_kind::kReadFailed). What is not read by design is neither.
#pragma once

#include <string>
#include <vector>

#include "record/observation.h"

namespace migsoak::record {

struct ReadInfo {
  std::string name, words, detectors;  // names of detectors, separated by blanks
};
const std::vector<ReadInfo>& reads();

// "read.config-space".
std::string read_metric(const std::string& name);

// Phase and time are the caller's to add.
Event read_failed(const std::string& read, const std::string& subject, std::int64_t process_id, const std::string& why);

}  // namespace migsoak::record
