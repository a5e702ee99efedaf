// Plan: everything that is decided about one iteration before it starts. A pure function of scenario, seed and index.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"

namespace migsoak::record {

struct Plan {
  std::int64_t iteration = 0;
  std::string source_side;
  std::string destination_side;
  std::string mode;       // a name of ops/modes
  std::string transport;  // "unix" | "tcp" | "fd"

  bool operator==(const Plan&) const = default;
};

base::Json to_json(const Plan& plan);
base::Result<Plan> plan_from_json(const base::Json& json);

}  // namespace migsoak::record
