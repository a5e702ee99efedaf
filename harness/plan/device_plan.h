// The device set as the plan has it: what a guest boots with, and what each operation makes of it. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/rng.h"
#include "hypervisor/machine_spec.h"
#include "record/plan.h"
#include "scenario/scenario.h"

namespace migsoak::plan {

using scenario::HotplugStep;
using scenario::Scenario;
// pcie.0 is the root bus: devices are plugged into root ports, not into it.
bool is_pcie(const std::string& machine);

// What a guest of this scenario boots with: its [[device]]s, the controllers and root ports that its hotplug kinds
// need; every address pinned. Without side-dependent values (sockets, images, properties).
base::Result<hypervisor::DeviceSet> boot_devices(const Scenario& scenario, const std::string& machine);

// The device that a planned plug adds, as boot_devices() has it.
hypervisor::DeviceSpec device_of(const record::PlannedOperation& operation);
void apply_operation(const record::PlannedOperation& operation, hypervisor::DeviceSet& devices);

// QEMU properties of a device on a side: of its [[device]], or of its kind under [hotplug].
std::map<std::string, base::Json> properties_of(const Scenario& scenario, const hypervisor::DeviceSpec& device,
                                                const std::string& side);

// Ids of all disks that a run may plug: their images and exports exist from the start.
std::vector<hypervisor::DeviceSpec> pluggable_disks(const Scenario& scenario);
// Those that this target serves.
std::vector<hypervisor::DeviceSpec> pluggable_devices_on(const Scenario& scenario, const std::string& target);

// A name by weight; empty when all weights are 0.
std::string draw_weighted(const std::vector<std::pair<std::string, std::uint64_t>>& weights, base::Rng& rng);

// Does a step's address ("0x5", "5", "rp2") mean this place, "bus/address" ("/0x5", "rp2/0x0", "scsi0.0/0x5")?
bool names_place(const std::string& address, const std::string& place);
// A [[hotplug.step]] that can't be done when its iteration comes.
struct UndoneStep {
  std::size_t step;  // index in the scenario
  std::string why;
};

// Draws the operations of one iteration after another.
class OperationPlanner {
 public:
  OperationPlanner(const Scenario& scenario, const std::string& machine);

  // Of the next iteration. `on_first_side`: the guest stands on the first side when it begins.
  std::vector<record::PlannedOperation> next(std::int64_t iteration, bool on_first_side, base::Rng& rng);
  const hypervisor::DeviceSet& devices() const { return devices_; }
  // Of the iteration that next() planned last.
  const std::vector<UndoneStep>& undone_steps() const { return undone_; }

 private:
  bool is_touched(const std::string& id) const;
  bool is_named(const std::string& id) const;
  int plugged() const;
  bool find_place(const std::string& kind, base::Rng& rng, record::PlannedOperation& into);
  // "bus/address" each. `unnamed_only`: without those that a step names.
  std::vector<std::string> free_addresses(const std::string& kind, bool unnamed_only) const;
  std::vector<std::string> places_of(const std::string& kind) const;
  std::string occupant(const std::string& kind, const std::string& place) const;
  std::vector<std::string> free_ids(const std::string& kind) const;
  std::vector<std::string> removable() const;
  bool has_later_sibling(const std::string& id) const;
  bool draw_plug(base::Rng& rng, record::PlannedOperation& into);
  bool draw_unplug(base::Rng& rng, record::PlannedOperation& into);
  void take(record::PlannedOperation operation);
  std::string plan_step_plug(const HotplugStep& step, base::Rng& rng, record::PlannedOperation& into);
  std::string plan_step_unplug(const HotplugStep& step, record::PlannedOperation& into) const;
  void take_steps(std::int64_t iteration, base::Rng& rng);

  const Scenario& scenario_;
  bool pcie_;
  hypervisor::DeviceSet devices_;
  std::map<std::string, std::string> last_address_;   // id -> "bus/address" at its last plug
  std::vector<record::PlannedOperation> operations_;  // of the iteration being drawn
  std::vector<UndoneStep> undone_;
  int swept_ = 0;
};

}  // namespace migsoak::plan
