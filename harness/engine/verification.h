// Verification: the guest checks its RAM and its disks; what it finds becomes samples and events.
#pragma once

#include "engine/iteration_context.h"
#include "engine/reads.h"
#include "engine/restarts.h"
#include "engine/step.h"

namespace migsoak::engine {

class Verification {
 public:
  // Borrows all; `restarts` is told of the disks' I/O errors.
  Verification(Lineage& lineage, record::Journal& journal, RestartRunner& restarts, Reads& reads)
      : lineage_(lineage), journal_(journal), restarts_(restarts), reads_(reads) {}

  // The scenario's guest does so.
  bool wanted() const { return lineage_.context().scenario.guest.workload == "verify"; }
  base::Result<void> begin();
  StepOutcome finish();
  StepOutcome begin_and_finish();
  // Of one that somebody else asked for.
  void record(const guest::VerifyReport& report);
  void record_disk(const guest::DiskReport& disk);

 private:
  Lineage& lineage_;
  record::Journal& journal_;
  RestartRunner& restarts_;
  Reads& reads_;
};

}  // namespace migsoak::engine
