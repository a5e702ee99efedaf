// The operations that a scenario asks for by name ([[hotplug.step]]), folded into the plan.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "hypervisor/device_type.h"
#include "ops/hotplug/hotplug.h"
#include "plan/device_plan.h"

namespace migsoak::plan {

using hypervisor::DeviceSpec;
using record::PlannedOperation;
using scenario::HotplugStep;

namespace {

std::string shown_place(const std::string& place) {
  return place.starts_with("rp") ? place.substr(0, place.find('/')) : place.substr(place.find('/') + 1);
}

}  // namespace

bool names_place(const std::string& address, const std::string& place) {
  const std::string bus = place.substr(0, place.find('/'));
  const std::string number = place.substr(place.find('/') + 1);
  if (address.empty()) return false;
  // Behind a root port there is one slot: the port is the address.
  if (bus.starts_with("rp")) return address == bus;
  const auto digits = address.starts_with("0x") ? address.substr(2) : address;
  const char* allowed = address.starts_with("0x") ? "0123456789abcdefABCDEF" : "0123456789";
  const bool is_number = !digits.empty() && digits.size() < 9 && digits.find_first_not_of(allowed) == std::string::npos;
  return is_number && std::stol(digits, nullptr, address.starts_with("0x") ? 16 : 10) == hypervisor::number_of(number);
}

// Empty, or why this step can't be done.
std::string OperationPlanner::plan_step_plug(const HotplugStep& step, base::Rng& rng, PlannedOperation& into) {
  const auto there = [&](const std::string& id) {
    return std::any_of(devices_.begin(), devices_.end(), [&id](const auto& device) { return device.id == id; });
  };
  if (into.device.empty()) {
    const std::vector<std::string> ids = free_ids(step.kind);
    if (ids.empty()) return fmt::format("the guest has all {} it may have", step.kind);
    into.device = ids.front();
  }
  if (there(into.device)) return fmt::format("the guest has {} already", into.device);
  if (is_touched(into.device)) return fmt::format("{} is plugged or unplugged in that iteration already", into.device);
  if (step.address.empty()) {
    if (find_place(step.kind, rng, into)) return "";
    const bool port = places_of(step.kind).front().starts_with("rp");
    return port ? fmt::format("none of the {} root ports (hotplug.ports) is free", scenario_.hotplug.ports)
                : "no address is free";
  }
  const std::vector<std::string> all = places_of(step.kind), open = free_addresses(step.kind, /*unnamed_only=*/false);
  const auto named = [&step](const std::string& place) { return names_place(step.address, place); };
  const auto any = std::find_if(all.begin(), all.end(), named);
  if (any == all.end()) {
    return fmt::format("a {} has no address {} here; there are {} to {}", step.kind, base::printable(step.address, 40),
                       shown_place(all.front()), shown_place(all.back()));
  }
  if (const std::string id = occupant(step.kind, *any); !id.empty()) {
    return fmt::format("address {} is taken by {}", shown_place(*any), id);
  }
  if (std::find(open.begin(), open.end(), *any) == open.end()) {
    return fmt::format("address {} is used by another step of that iteration", shown_place(*any));
  }
  into.bus = any->substr(0, any->find('/'));
  into.address = any->substr(any->find('/') + 1);
  return "";
}

std::string OperationPlanner::plan_step_unplug(const HotplugStep& step, PlannedOperation& into) const {
  const auto meant = [&](const DeviceSpec& device) {
    if (!step.device.empty()) return device.id == step.device;
    const bool cold = scenario_.find_device(device.id) != nullptr;
    return device.type == step.kind && !cold && !is_touched(device.id) && !is_named(device.id);
  };
  const auto device = std::find_if(devices_.begin(), devices_.end(), meant);
  if (device == devices_.end()) {
    return fmt::format("the guest has no {} then", step.device.empty() ? step.kind : base::printable(step.device, 40));
  }
  if (is_touched(device->id)) return fmt::format("{} is plugged or unplugged in that iteration already", device->id);
  if (device->type != step.kind) return fmt::format("{} is a {}, no {}", device->id, device->type, step.kind);
  into.device = device->id;
  into.bus = device->bus;
  into.address = device->address;
  return "";
}

void OperationPlanner::take_steps(std::int64_t iteration, base::Rng& rng) {
  for (std::size_t i = 0; i < scenario_.hotplug.steps.size(); ++i) {
    const HotplugStep& step = scenario_.hotplug.steps[i];
    if (step.iteration != iteration) continue;
    PlannedOperation operation{step.kind, step.action, step.timing, step.device, "", ""};
    std::string why = step.action == "plug" ? plan_step_plug(step, rng, operation) : plan_step_unplug(step, operation);
    if (why.empty()) {
      take(std::move(operation));
    } else {
      undone_.push_back({i, std::move(why)});
    }
  }
}

}  // namespace migsoak::plan
