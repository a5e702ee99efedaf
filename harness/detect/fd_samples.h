// Inside fd-leak: the descriptor counts of one quiet point.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "record/observation.h"

namespace migsoak::detect {

struct FdSample {
  std::int64_t process_id = 0;
  std::map<std::string, std::int32_t> kinds;
  std::optional<std::int64_t> total, peak;
};

// By process name; empty when the observation has no quiet point. Processes that did not settle are left out.
std::map<std::string, FdSample> fd_samples(const record::Observation& observation);

}  // namespace migsoak::detect
