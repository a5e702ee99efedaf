// PhaseFacts: tells of each phase of a migration once, in order. Internal to ops/modes.
#pragma once

#include <cstddef>

#include "ops/modes/mode.h"
#include "ops/modes/peer_status.h"

namespace migsoak::ops {

class PhaseFacts {
 public:
  // Those that `source` has reached since the last call.
  void publish(const PeerStatus& source, MigrationListener& listener);

 private:
  std::size_t told_ = 0;  // of all phases in their order
};

}  // namespace migsoak::ops
