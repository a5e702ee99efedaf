// The kernel's device events (uevents): what udev would do for the guest is done here, and whoever waits for a device
// is woken.
//
// A driver that a new device asks for is loaded (modules.list, on-demand), a new CPU is brought online, a new network
// interface is brought up. New memory comes online by itself, in the movable zone, so that it can be unplugged again.
#pragma once

#include <cstdint>

namespace migsoak::agent {

// Listens, and does the same for what is there already. Call once, after load_modules().
void start_kernel_events();
// Number of events so far.
std::uint64_t kernel_events();
// Waits until there are more than `seen` events or the time (monotonic) has come.
void wait_kernel_event(std::uint64_t seen, std::int64_t until_ns);

}  // namespace migsoak::agent
