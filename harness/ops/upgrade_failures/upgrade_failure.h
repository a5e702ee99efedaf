// UpgradeFailure: one way in which an attempt to move a guest to a new QEMU is made to fail. One file per way, one line
// in upgrade_failures.def. An attempt begins like the real one and is sabotaged at one place; what matters is what
// becomes of the guest.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "hypervisor/machine_spec.h"
#include "ops/modes/mode.h"

namespace migsoak::ops {

struct UpgradeFailure {
  std::string name;     // in scenarios and in the record
  std::string summary;  // one line for `migsoak list faults`
  // Where it has something to sabotage; empty: everywhere.
  std::vector<ProcessOrder> process_orders;
  // It sabotages a path: of the transports only "unix" has one.
  bool sabotages_path = false;

  // What it sabotages; null: not that. All but `sabotage_arrived` only change what is asked for.
  //
  // Before the new side's process is made: `next` is its machine. `state_file` is where the source will save its state,
  // empty where there is none. Errors are the environment's (a file can't be made).
  base::Result<void> (*sabotage_machine)(hypervisor::MachineSpec& next, ProcessOrder order,
                                         const std::string& state_file) = nullptr;
  // Right before Mode::run: what it goes over.
  void (*sabotage_channels)(MigrationChannels& channels, ProcessOrder order) = nullptr;
  // afterwards: when the source has saved its state and has gone, and nobody has loaded it yet.
  void (*sabotage_saved_state)(const std::string& state_file) = nullptr;
  // When the new side's process has the guest's state and waits for `cont`.
  void (*sabotage_arrived)(hypervisor::Machine& next) = nullptr;

  // Files that come of it, whether or not it got so far; whoever makes the attempt removes them. Null: none.
  std::vector<std::string> (*traces)(const hypervisor::MachineSpec& next) = nullptr;
};

const std::vector<UpgradeFailure>& upgrade_failures();
const UpgradeFailure* find_upgrade_failure(const std::string& name);
std::vector<std::string> upgrade_failure_names();

// Does it have something to sabotage in this mode, over this transport?
bool applies(const UpgradeFailure& failure, const Mode& mode, const std::string& transport);

}  // namespace migsoak::ops
