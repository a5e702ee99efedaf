// PeerStatus: one end's state during a migration, from its events and from polling. Internal to ops/modes.
#pragma once

#include <cstdint>
#include <string>

#include "base/deadline.h"
#include "hypervisor/machine.h"

namespace migsoak::ops {

class PeerStatus {
 public:
  // `machine` must outlive it. Polls for the first time after a while; with `at_once` as soon as QMP answers, for what
  // may have happened before that.
  explicit PeerStatus(hypervisor::Machine& machine, bool at_once = false);

  // The migration status was announced, or seen when last polled (QAPI MigrationStatus).
  bool saw(const char* status) const;
  bool failed() const { return saw("failed") || saw("cancelled"); }
  bool resumed() const;
  // A guest that was paused stays paused: then only the status tells. RESUME comes before "completed".
  bool has_guest() const { return resumed() || saw("completed"); }
  std::string last_status() const { return polled_status_; }

  // Asks now and then, and takes what was answered; never waits.
  void poll();

 private:
  hypervisor::Machine& machine_;
  base::Clock::time_point next_poll_;
  bool asked_ = false;
  std::uint64_t migrate_id_ = 0, status_id_ = 0;
  std::string polled_status_;
  bool polled_running_ = false;
};

}  // namespace migsoak::ops
