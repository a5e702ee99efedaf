// hangs-after-load: the new process has loaded the guest's state and hangs before it runs the guest. It is started with
// -S, so that loading and running are two steps, and stopped by a signal between them: whoever goes back to the old
// process goes back to a guest that never ran elsewhere.
#include <csignal>

#include "ops/upgrade_failures/upgrade_failure.h"

namespace migsoak::ops {

UpgradeFailure upgrade_failure_hangs_after_load() {
  UpgradeFailure failure;
  failure.name = "hangs-after-load";
  failure.summary = "the new process hangs when it has loaded the guest's state";
  failure.sabotage_machine = [](hypervisor::MachineSpec& next, ProcessOrder, const std::string&) -> base::Result<void> {
    next.extra_args.emplace_back("-S");
    return {};
  };
  failure.sabotage_arrived = [](hypervisor::Machine& next) {
    const pid_t pid = next.qemu_pid();
    if (pid > 0 && next.alive()) ::kill(pid, SIGSTOP);
  };
  return failure;
}

}  // namespace migsoak::ops
