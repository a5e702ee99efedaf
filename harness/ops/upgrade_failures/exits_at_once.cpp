// exits-at-once: the new process ends before it has done anything, as with a library it can't load.
#include "ops/upgrade_failures/upgrade_failure.h"

namespace migsoak::ops {

UpgradeFailure upgrade_failure_exits_at_once() {
  UpgradeFailure failure;
  failure.name = "exits-at-once";
  failure.summary = "the new process ends with status 1 before it has done anything";
  failure.sabotage_machine = [](hypervisor::MachineSpec& next, ProcessOrder, const std::string&) -> base::Result<void> {
    next.wrapper.clear();
    next.qemu = "false";  // coreutils: ignores all arguments
    return {};
  };
  return failure;
}

}  // namespace migsoak::ops
