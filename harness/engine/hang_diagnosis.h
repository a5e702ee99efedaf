// Who is stuck? When a wait ends without an answer, the process that does not answer is often waiting for another one.
#pragma once

#include <set>
#include <string>

#include "base/json.h"
#include "engine/lineage.h"

namespace migsoak::engine {

struct Stuck {
  std::string subject;  // process name
  std::int64_t process_id = 0;
  std::string why;  // "is stopped (state T)", "sits in do_wait and serves nothing"
};

// The most likely culprit among the lineage's targets and QEMUs, or an empty subject. A stopped process first; then a
// target whose main thread is not in its event loop; then a QEMU whose QMP is silent. Those named in `left_out` are not
// looked at.
Stuck find_stuck(Lineage& lineage, const std::set<std::string>& left_out = {});

// Stacks, QMP state and last log lines of every process of the lineage: the evidence of a hang. Bounded in size and
// time.
base::Json hang_evidence(Lineage& lineage);

}  // namespace migsoak::engine
