// HotplugKind: one kind of device that can be plugged into and unplugged from a running guest. One file per kind, one
// line in kinds.def. hypervisor/device_type.h defines what the device is made of; this defines where it may go, how
// many there may be, and how the guest proves that it has it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/json.h"
#include "base/result.h"
#include "hypervisor/machine.h"
#include "hypervisor/machine_spec.h"

namespace migsoak::ops {

struct HotplugKind {
  std::string name;     // in scenarios; also the device's type
  std::string summary;  // one line for `migsoak list hotplug`
  std::string prefix;   // of ids: "vb" makes vb0, vb1 …
  int count_max;        // plugged at once
  // For kinds that are not on PCI: the bus, the first address on it, and the device that must be there from the start.
  std::string bus, controller, controller_type;
  int first_address;
  // Why an unplug of it may not be under way at the switch-over (the plan then waits for it); empty: it may.
  std::string unplug_settles;
  // Arguments of the agent's `await` (guest-images/agent/PROTOCOL.md) that name the device, without `state`. What the
  // guest can only count is named by how many the set has of it. `boot_cpus`: it had from the start.
  base::Json (*guest_identity)(const hypervisor::DeviceSet& devices, const hypervisor::DeviceSpec& device,
                               int boot_cpus);
};

const std::vector<HotplugKind>& hotplug_kinds();
const HotplugKind* find_hotplug_kind(const std::string& name);
std::vector<std::string> hotplug_kind_names();
// "settled" "at-once" "refused": record/plan.h
const std::vector<std::string>& hotplug_timings();

// Where the guest put BAR0 of a device, and its size, both in bytes. Empty: no such device, no BAR0, or not placed
// (yet).
struct BarPlace {
  std::uint64_t address = 0, size = 0;
  bool odd_multiple() const { return size != 0 && (address / size) % 2 == 1; }
};
base::Result<std::optional<BarPlace>> bar0_of(hypervisor::Machine& machine, const std::string& id,
                                              base::Deadline deadline);

}  // namespace migsoak::ops
