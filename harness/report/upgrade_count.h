// Internal to report: counts hot upgrades out of the record.
#pragma once

#include <cstdint>
#include <map>
#include <utility>

#include "report/upgrades.h"
#include "store/store.h"

namespace migsoak::report {

// Iteration by iteration.
class UpgradeCount {
 public:
  void take(const store::Store::IterationRow& row);
  // The processes are looked through when there was an upgrade.
  base::Result<Upgrades> conclude(const store::Store& store);

 private:
  Upgrades upgrades_;
  std::map<std::pair<int, int>, std::int64_t> by_lineage_;
};

}  // namespace migsoak::report
