// missing-binary: the new executable is not there: a package half installed, a typing error.
#include "ops/upgrade_failures/upgrade_failure.h"

namespace migsoak::ops {

UpgradeFailure upgrade_failure_missing_binary() {
  UpgradeFailure failure;
  failure.name = "missing-binary";
  failure.summary = "the new executable is not there";
  failure.sabotage_machine = [](hypervisor::MachineSpec& next, ProcessOrder, const std::string&) -> base::Result<void> {
    next.wrapper.clear();  // it would be found
    next.qemu = next.run_dir + "/no-such-directory/qemu";
    return {};
  };
  return failure;
}

}  // namespace migsoak::ops
