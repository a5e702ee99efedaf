// MigrationSession: one migration between two QEMUs of a lineage, the destination there already or yet to come. Who
// they are, what the mode is told, how the destination comes up and the source goes. The migration of an iteration is
// one, and so is an upgrade that is made to fail.
#pragma once

#include <string>

#include "engine/lineage.h"
#include "ops/modes/mode.h"
#include "record/journal.h"

namespace migsoak::engine {

// The QEMUs of an iteration. Null: not there yet, or gone.
struct Ends {
  Vm* source = nullptr;
  Vm* destination = nullptr;
  Vm* next = nullptr;  // destination of the next iteration, raised early
};

class MigrationSession {
 public:
  // Borrows all. `ends` says who they are, and is kept up to date.
  MigrationSession(Lineage& lineage, record::Journal& journal, const ops::Mode& mode, Ends& ends)
      : lineage_(lineage), journal_(journal), mode_(mode), ends_(ends) {}

  // Decides on a destination that is not there yet.
  void prepare();
  VmLaunch& prepared() { return prepared_; }
  // What the mode runs on; for the session's lifetime. Not good: there is no command line to exec.
  base::Result<ops::MigrationContext> begin(base::Deadline deadline, ops::MigrationListener& listener);
  // What the listener does when it is asked to: starts (or execs into) a destination that can only be reached after the
  // source has sent or saved its state, and waits for its QMP.
  base::Result<hypervisor::Machine*> raise(base::Deadline deadline);
  // Files of guest RAM go with their last owner.
  void forget_ram() { prepared_.ram.reset(); }

 private:
  Lineage& lineage_;
  record::Journal& journal_;
  const ops::Mode& mode_;
  Ends& ends_;
  VmLaunch prepared_;
};

}  // namespace migsoak::engine
