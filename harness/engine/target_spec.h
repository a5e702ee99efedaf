// What the processes of a [[target]] are: one spec for the run, for the check of its command line and for a bench.
#pragma once

#include <string>
#include <vector>

#include "engine/plan_types.h"
#include "hypervisor/machine_spec.h"
#include "target/target.h"

namespace migsoak::engine {

// "target:disk0", "target:disk0@a": its name in the record. `side` empty: it serves all.
std::string target_process_name(const TargetScenario& target, const std::string& side);

// Whom a process of a target serves: the QEMUs of a side, or one of them, by its slot.
struct TargetPlace {
  std::string side;  // empty: all
  std::string slot;  // empty: all; each QEMU that lives at one time has its own
  bool operator==(const TargetPlace&) const = default;
};
// All that a target may have.
std::vector<TargetPlace> target_places(const Scenario& scenario, const TargetScenario& target);

// With every device that it will ever serve, plugged ones too, and a slot for every QEMU of a lineage that it may serve
// at once. Its sockets and images lie in `run_dir`. Logs to nowhere.
target::TargetSpec target_spec(const Scenario& scenario, const TargetScenario& target, const TargetPlace& serves,
                               const std::string& run_dir);

// The target that serves a device, plugged or there from the start; null: none does.
const TargetScenario* target_of(const Scenario& scenario, const hypervisor::DeviceSpec& device);

// The disk image of a device, the scenario's or a plugged one.
std::string image_path(const std::string& run_dir, const std::string& device_id);

}  // namespace migsoak::engine
