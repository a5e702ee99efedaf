#include "engine/destination.h"

#include <algorithm>
#include <utility>

namespace migsoak::engine {

using hypervisor::DeviceSet;
using hypervisor::DeviceSpec;

namespace {

bool same_devices(const DeviceSet& left, const DeviceSet& right) {
  const auto holds = [](const DeviceSet& set, const DeviceSpec& wanted) {
    return std::any_of(set.begin(), set.end(), [&wanted](const DeviceSpec& device) {
      return device.id == wanted.id && device.bus == wanted.bus && device.address == wanted.address;
    });
  };
  return left.size() == right.size() &&
         std::all_of(left.begin(), left.end(), [&](const DeviceSpec& device) { return holds(right, device); });
}

}  // namespace

base::Error as_subjects(base::Error error, bool has_wrapper) {
  if (has_wrapper && error.kind == base::ErrorKind::environment) error.kind = base::ErrorKind::subject;
  return error;
}

StepOutcome Destination::spawn() {
  Ends& ends = iteration_.ends;
  const std::string name = "qemu:" + iteration_.plan().destination_side;
  for (Vm& vm : iteration_.lineage.vms()) {
    if (&vm != ends.source && vm.name == name) ends.destination = &vm;  // raised early
  }
  retire_unused();
  if (ends.destination != nullptr || !iteration_.starts_before()) return StepResult::ok;
  return spawn_with(operations_.planned());
}

StepOutcome Destination::spawn_with(const DeviceSet& devices) {
  const std::string& side = iteration_.plan().destination_side;
  const std::string name = "qemu:" + side;
  Lineage& lineage = iteration_.lineage;
  const base::Result<Vm*> spawned =
      lineage.spawn(lineage.prepare(side, &iteration_.mode, iteration_.ends.source, devices), iteration_.journal);
  if (!spawned) {
    const bool has_wrapper = !iteration_.scenario().side(side).wrapper.empty();
    return Trouble{name, 0, as_subjects(spawned.error(), has_wrapper), "start of " + name, /*explained_by_ends=*/false};
  }
  iteration_.ends.destination = *spawned;
  return StepResult::ok;
}

StepOutcome Destination::raise() {
  Vm* destination = iteration_.ends.destination;
  if (destination == nullptr) return StepResult::stays_on_source;  // ended since its start, and was noted
  if (iteration_.mode.needs.process_order == ops::ProcessOrder::waiting) return StepResult::ok;
  const auto ready = iteration_.lineage.make_ready(*destination, iteration_.spawn_deadline());
  if (!ready) {
    return Trouble{destination->name,
                   destination->process_id,
                   ready.error(),
                   "QMP of " + destination->name,
                   /*explained_by_ends=*/true,
                   /*if_ended=*/StepResult::stays_on_source};
  }
  iteration_.journal.sample("host", 0, "spawn_ms", destination->spawn_ms);
  iteration_.readings.begin_config(destination, hypervisor::ReadPoint::destination, /*running=*/false);
  iteration_.readings.begin_waiting_tree(destination);
  return StepResult::ok;
}

StepOutcome Destination::still_there() const {
  return iteration_.ends.destination != nullptr ? StepResult::ok : StepResult::stays_on_source;
}

StepOutcome Destination::match_devices() {
  Vm*& destination = iteration_.ends.destination;
  if (destination == nullptr) return StepResult::stays_on_source;  // ended since the last look, and was noted
  if (same_devices(destination->devices, iteration_.lineage.devices())) return StepResult::ok;
  iteration_.readings.drop_destination();
  iteration_.lineage.retire(*std::exchange(destination, nullptr), /*by_quit=*/false, iteration_.journal);
  iteration_.journal.begin_phase("spawn");
  if (StepOutcome spawned = spawn_with(iteration_.lineage.devices()); spawned.trouble) return spawned;
  return raise();
}

void Destination::retire_unused() {
  Lineage& lineage = iteration_.lineage;
  const Ends& ends = iteration_.ends;
  for (auto it = lineage.vms().begin(); it != lineage.vms().end();) {
    Vm& vm = *it++;
    if (&vm != ends.source && &vm != ends.destination) {
      lineage.retire(vm, /*by_quit=*/false, iteration_.journal);
    }
  }
}

void Destination::begin_raising_next() {
  Lineage& lineage = iteration_.lineage;
  if (next_side_.empty() || !lineage.targets().have_spare_slots()) return;
  const std::string side = std::exchange(next_side_, "");  // one attempt
  const base::Result<Vm*> spawned =
      lineage.spawn(lineage.prepare(side, ops::find_mode("precopy"), nullptr, lineage.devices()), iteration_.journal);
  // A failure shows in the next iteration, which will try again and judge it there.
  if (spawned) iteration_.ends.next = *spawned;
}

// One that ends at its start is noted; the next iteration tries again.
StepOutcome Destination::finish_raising_next() {
  Vm& next = *iteration_.ends.next;
  const auto ready = iteration_.lineage.make_ready(next, iteration_.spawn_deadline());
  if (ready) return StepResult::ok;
  return Trouble{next.name,
                 next.process_id,
                 ready.error(),
                 "QMP of " + next.name,
                 /*explained_by_ends=*/true,
                 /*if_ended=*/StepResult::ok};
}

}  // namespace migsoak::engine
