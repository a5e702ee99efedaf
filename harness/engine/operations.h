// OperationRunner: the hotplug operations of one iteration, done to the guest and confirmed by it. What QEMU or the
// guest does otherwise than planned becomes an event; the lineage's device set always says what the guest really has.
#pragma once

#include <string>
#include <vector>

#include "engine/lineage.h"
#include "engine/step.h"
#include "engine/verification.h"
#include "ops/hotplug/hotplug.h"
#include "record/journal.h"
#include "record/plan.h"

namespace migsoak::engine {

class OperationRunner {
 public:
  // Borrows all of them. `verification` judges disks that the guest takes up or lets go of.
  OperationRunner(Lineage& lineage, record::Journal& journal, Verification& verification)
      : lineage_(lineage), journal_(journal), verification_(verification) {}

  bool empty() const { return journal_.plan().operations.empty(); }
  // What the guest has when all operations have gone as planned: the destination's devices.
  hypervisor::DeviceSet planned() const;

  // A guest that boots with disks which its agent does not take of itself: those behind a SCSI controller.
  StepOutcome adopt_boot_disks();
  // The settled ones, each confirmed by the guest before the next. Trouble: the guest or its QEMU can't go on.
  StepOutcome run_settled(Vm& source);
  // Right before the migration: asked for, not waited for.
  StepOutcome begin_at_once(Vm& source);
  // The migration is under way: these QEMU has to refuse.
  void send_refused(Vm& source);
  // After the migration, before the source is asked to quit: what it did meanwhile. Of a migration that failed it is
  // not known whether it was still under way when they were asked for.
  void conclude_refused(Vm& source, bool migrated);
  // The guest runs here now (the destination, or the source again when the migration failed).
  StepOutcome conclude(Vm& current);

 private:
  struct Running {
    record::PlannedOperation operation;
    base::Clock::time_point began = {};
    bool seen_gone = false;
    std::optional<ops::BarPlace> bar0 = {};
    std::uint64_t reply = 0;  // of a refused one
  };
  base::Result<void> try_adopt_boot_disks();
  base::Result<void> try_conclude(Vm& current);
  base::Result<void> run_timed(const std::string& timing, Vm& source);
  base::Result<void> plug(Vm& vm, const record::PlannedOperation& operation, base::Clock::time_point began);
  base::Result<void> unplug(Vm& vm, const record::PlannedOperation& operation, base::Clock::time_point began);
  base::Result<void> confirm_plug(const hypervisor::DeviceSpec& device, Running& running);
  base::Result<bool> wait_unplugged(hypervisor::Machine& machine, const std::string& id);
  base::Result<void> finish_unplug(Vm& vm, Running& running);
  base::Result<void> note_bar0(const hypervisor::DeviceSpec& device, Running& running);
  base::Result<bool> await(const hypervisor::DeviceSpec& device, bool present);
  base::Result<void> detach_workload(const hypervisor::DeviceSpec& device);
  guest::DiskIdentity disk_identity(const hypervisor::DeviceSpec& device) const;
  // Empty, or why the guest does not take it.
  base::Result<std::string> attach_workload(const hypervisor::DeviceSpec& device);
  void record(const Running& running, const char* result, bool confirmed, const std::string& error = "",
              const std::string& side = "");
  base::Deadline answer_deadline() const;
  bool in_set(const std::string& id) const;
  // The device that is where a planned one was to go, since history went otherwise than planned; empty: none.
  std::string occupant(const record::PlannedOperation& operation) const;

  Lineage& lineage_;
  record::Journal& journal_;
  Verification& verification_;
  std::vector<Running> at_once_, refused_;
};

// The devices of a machine as data (document "device-set"): what its command line and device_add said.
base::Json device_set_json(const Lineage& lineage, const hypervisor::DeviceSet& devices, const std::string& side,
                           const std::string& slot);

}  // namespace migsoak::engine
