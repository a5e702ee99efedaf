// hangs-before-qmp: the new process lives and never answers on QMP: it waits in its start for a client of a socket that
// has none (a chardev with wait=on blocks in accept() before the main loop runs).
#include "hypervisor/device_type.h"
#include "ops/upgrade_failures/upgrade_failure.h"

namespace migsoak::ops {

namespace {

std::string lonely_socket(const hypervisor::MachineSpec& next) {
  return next.run_dir + "/" + next.instance + ".w";
}

}  // namespace

UpgradeFailure upgrade_failure_hangs_before_qmp() {
  UpgradeFailure failure;
  failure.name = "hangs-before-qmp";
  failure.summary = "the new process lives and never answers on QMP";
  failure.sabotage_machine = [](hypervisor::MachineSpec& next, ProcessOrder, const std::string&) -> base::Result<void> {
    next.extra_args.insert(next.extra_args.end(), {"-chardev", "socket,id=nobody,server=on,wait=on,path=" +
                                                                   hypervisor::escape_commas(lonely_socket(next))});
    return {};
  };
  failure.traces = [](const hypervisor::MachineSpec& next) { return std::vector<std::string>{lonely_socket(next)}; };
  return failure;
}

}  // namespace migsoak::ops
