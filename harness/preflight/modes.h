// Do the builds have what the scenario's modes need? Internal to preflight.
#pragma once

#include "preflight/preflight.h"

namespace migsoak::preflight {

using scenario::Scenario;
// Some mode of the scenario needs guest RAM in a file.
bool wants_ram_file(const Scenario& scenario);

// kind bad_input: a mode that a build lacks, or an edge back to an older build that is not known to work and not
// declared. Sets Preflight::wants_aux_ram_share.
base::Result<void> check_modes(const Scenario& scenario, Preflight& preflight);

}  // namespace migsoak::preflight
