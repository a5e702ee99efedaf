// Internal to hypervisor: the driver "direct", for what the room itself runs.
#pragma once

#include <memory>

#include "hypervisor/driver.h"

namespace migsoak::hypervisor {

// Borrows both.
std::unique_ptr<Driver> make_direct_driver(proc::Reactor& reactor, proc::Containment& containment);

}  // namespace migsoak::hypervisor
