// Batch: up to kDevicesPerVm devices in one pair of throwaway VMs after the other, one pair for each guest state. A
// device that is refused is named by the error, or found by halving, and the others are tried again without it.
#pragma once

#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "compat/facts.h"
#include "compat/probe_vm.h"
#include "fleet/fleet.h"

namespace migsoak::compat {

struct BuildPair {
  fleet::Build from, to;
  std::string machine;  // a -machine value that both know
  Placement placement = Placement::root;
};

// One entry per device, in order. Errors are the harness's own: kind interrupted or environment; a device that makes
// trouble is a fact with unknown_reason. `deadline`: what has not been tried by then is unknown.
base::Result<std::vector<DeviceFacts>> run_batch(CompatHost& lab, const BuildPair& builds,
                                                 const std::vector<DevicePair>& devices, base::Deadline deadline);

}  // namespace migsoak::compat
