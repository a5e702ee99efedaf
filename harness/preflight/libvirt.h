// Preflight of [migration.libvirt]: what this libvirtd, these QEMUs and this host can't do of it. Internal to
// preflight.
#pragma once

#include "preflight/preflight.h"

namespace migsoak::preflight {

// The builds and the daemon have been identified. kind bad_input: with the key and the reason.
base::Result<void> check_libvirt_ways(proc::Reactor& reactor, proc::Containment& containment,
                                      const scenario::Scenario& scenario, const Preflight& preflight);

}  // namespace migsoak::preflight
