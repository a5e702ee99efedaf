#include <algorithm>

#include "ops/upgrade_failures/upgrade_failure.h"

namespace migsoak::ops {

#define UPGRADE_FAILURE(function) UpgradeFailure upgrade_failure_##function();
#include "ops/upgrade_failures/upgrade_failures.def"
#undef UPGRADE_FAILURE

const std::vector<UpgradeFailure>& upgrade_failures() {
  static const std::vector<UpgradeFailure> failures = {
#define UPGRADE_FAILURE(function) upgrade_failure_##function(),
#include "ops/upgrade_failures/upgrade_failures.def"
#undef UPGRADE_FAILURE
  };
  return failures;
}

const UpgradeFailure* find_upgrade_failure(const std::string& name) {
  for (const UpgradeFailure& failure : upgrade_failures()) {
    if (failure.name == name) return &failure;
  }
  return nullptr;
}

std::vector<std::string> upgrade_failure_names() {
  std::vector<std::string> names;
  for (const UpgradeFailure& failure : upgrade_failures()) names.push_back(failure.name);
  return names;
}

bool applies(const UpgradeFailure& failure, const Mode& mode, const std::string& transport) {
  const ProcessOrder order = mode.needs.process_order;
  const std::vector<ProcessOrder>& known = failure.process_orders;
  if (!known.empty() && std::find(known.begin(), known.end(), order) == known.end()) return false;
  return !failure.sabotages_path || order != ProcessOrder::beside || transport == "unix";
}

}  // namespace migsoak::ops
