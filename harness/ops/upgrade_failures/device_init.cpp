// device-init: the new process dies while it makes its devices: an IDE disk whose drive is empty ("Device needs media,
// but drive is empty"), which the old machine never had.
#include "ops/upgrade_failures/upgrade_failure.h"

namespace migsoak::ops {

UpgradeFailure upgrade_failure_device_init() {
  UpgradeFailure failure;
  failure.name = "device-init";
  failure.summary = "the new process dies in the initialisation of a device (an ide-hd without a medium)";
  failure.sabotage_machine = [](hypervisor::MachineSpec& next, ProcessOrder, const std::string&) -> base::Result<void> {
    next.extra_args.insert(next.extra_args.end(),
                           {"-drive", "if=none,id=no-medium", "-device", "ide-hd,id=ide0-hd0,drive=no-medium"});
    return {};
  };
  return failure;
}

}  // namespace migsoak::ops
