// MigrationSettings: what a mode needs set in a QEMU before it migrates. Every mode sets all of it for itself: a source
// whose last attempt failed still has what another mode set. For the modes, and for who undoes one
// (engine/upgrade_attempt).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "hypervisor/machine.h"
#include "ops/modes/migration_listener.h"

namespace migsoak::ops {

struct MigrationSettings {
  std::string mode = "normal";  // QAPI MigMode, since QEMU 8.2
  bool ignore_shared = false;   // capability x-ignore-shared, since QEMU 4.0
  bool execs = false;           // into what it was told (Machine::set_exec), since QEMU 11.1
};

// Sent without waiting, so that it costs no round trip: whatever is sent next is executed after it.
class PendingSettings {
 public:
  // The mode "normal" is not sent to a QEMU that has no other.
  PendingSettings(hypervisor::Machine& machine, const MigrationSettings& settings);
  const SentSettings& sent() const { return sent_; }
  // kind subject: refused; kind timeout: no answer.
  base::Result<void> confirm(base::Deadline deadline);

 private:
  hypervisor::Machine& machine_;
  std::vector<std::uint64_t> ids_;
  SentSettings sent_;
};

}  // namespace migsoak::ops
