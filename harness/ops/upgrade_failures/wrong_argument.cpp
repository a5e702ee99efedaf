// wrong-argument: the new command line has an option that QEMU does not know. QEMU says so and exits with status 1.
#include "ops/upgrade_failures/upgrade_failure.h"

namespace migsoak::ops {

UpgradeFailure upgrade_failure_wrong_argument() {
  UpgradeFailure failure;
  failure.name = "wrong-argument";
  failure.summary = "the new command line has an option that QEMU does not know";
  failure.sabotage_machine = [](hypervisor::MachineSpec& next, ProcessOrder, const std::string&) -> base::Result<void> {
    next.extra_args.emplace_back("-no-such-option");
    return {};
  };
  return failure;
}

}  // namespace migsoak::ops
