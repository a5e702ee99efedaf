// The quiet point: the moment at which the counts of all processes have settled and may be compared.
#pragma once

#include <string>

#include "base/deadline.h"
#include "engine/lineage.h"

namespace migsoak::engine {

struct SettleReport {
  bool settled = false;
  bool interrupted = false;
  double took_ms = 0;
  int hung_up_sockets = 0;                         // of the targets: peers that are gone; leaked ones stay for good
  std::vector<std::string> targets_without_guest;  // targets to which the guest's QEMU has no connection
  // Connections that could not be looked at; nothing is said of them.
  struct Unread {
    std::string subject;
    std::int64_t process_id = 0;
    std::string why;
  };
  std::vector<Unread> unread;
};
// `hung_up_before`: what the last quiet point saw; only more than that is waited for.
SettleReport wait_quiet(Lineage& lineage, int hung_up_before, base::Deadline deadline);

}  // namespace migsoak::engine
