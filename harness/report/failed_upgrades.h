// Internal to report: upgrades that were made to fail, and what became of the guest (events of kind upgrade-failure).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "report/page.h"
#include "store/store.h"

namespace migsoak::report {

struct FailedUpgradeTally {
  std::int64_t attempts = 0;
  // Where the guest was afterwards, each attempt once. In the old VM, which kept running it, was resumed, or was
  // started again from its saved state; in the new one; nowhere.
  std::int64_t kept_running = 0, resumed = 0, started_again = 0, new_side = 0, lost = 0, unknown = 0;
  std::int64_t intact = 0, damaged = 0;         // by the guest's own verification; neither: not asked
  std::int64_t migrated = 0, not_migrated = 0;  // the iteration's migration after it; neither: not tried
  std::int64_t longest_ms = 0;
  void add(const FailedUpgradeTally& other);
};

struct FailedUpgrades {
  std::map<std::pair<std::string, std::string>, FailedUpgradeTally> rows;  // by mode and failure, both printable
  FailedUpgradeTally total;
};

base::Result<FailedUpgrades> failed_upgrades_of(const store::Store& store);
// Nothing when there were none.
void print_failed_upgrades(Page& page, const FailedUpgrades& upgrades);

}  // namespace migsoak::report
