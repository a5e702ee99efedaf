// Preflight of devices: does the build of each side have the drivers that a scenario needs, and the properties that it
// gives? Without it a misspelt property is a QEMU that ends at its start, or a refused plug, hours into a run.
#pragma once

#include <map>
#include <string>

#include "fleet/inspect.h"
#include "scenario/scenario.h"

namespace migsoak::preflight {

using scenario::Scenario;
// Both maps are keyed by the scenario's `qemu` strings (Preflight::qemu, Preflight::builds). `-device help` is run once
// for a build that is not known to the fleet, `-device DRIVER,help` once for each build and driver that has properties;
// a build that does not answer is not held against the scenario. kind bad_input: one line with file, key, device, side,
// version and the nearest name.
base::Result<void> check_devices(const fleet::Host& host, const Scenario& scenario,
                                 const std::map<std::string, fleet::Identity>& identities,
                                 const std::map<std::string, fleet::Build>& builds);

}  // namespace migsoak::preflight
