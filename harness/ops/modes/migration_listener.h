// MigrationListener: who is told what goes on in a migration, and does what a mode can't: raise the destination, let
// the source go. Called on the migration's thread: what it does takes time from it.
#pragma once

#include <string>

#include "base/deadline.h"
#include "base/result.h"
#include "hypervisor/machine.h"

namespace migsoak::ops {

// How far a migration has come, by its source's word (QAPI MigrationStatus). They come in this order; not every mode,
// setting and build passes through all.
enum class MigrationPhase { setup, active, pre_switchover, device, completed };
std::string to_string(MigrationPhase phase);  // as QAPI spells it

class MigrationListener {
 public:
  virtual ~MigrationListener() = default;
  virtual void started() {}                // once: the source was told to migrate, and nothing is waited for yet
  virtual void progress() {}               // now and then
  virtual void reached(MigrationPhase) {}  // once for each, at the earliest opportunity
  // All but beside: brings the destination to the point where QMP answers and returns it. kind subject: it ended first.
  virtual base::Result<hypervisor::Machine*> raise(base::Deadline deadline) = 0;
  // afterwards: the source has saved its state: ends it, and returns when it is gone.
  virtual base::Result<void> release_source() = 0;
};

}  // namespace migsoak::ops
