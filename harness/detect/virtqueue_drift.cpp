#include "detect/virtqueue_drift.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "detect/event_text.h"

namespace migsoak::detect {

namespace {

constexpr std::size_t kOriginsMax = 4096;

std::string side_words(const std::vector<record::SideInfo>& sides, const std::string& side) {
  const std::string build = side_build(sides, side);
  return build.empty() ? side : fmt::format("{} (QEMU {})", side, build);
}

const record::Virtqueue* queue_of(const record::VirtioDevice& device, std::int64_t index) {
  const auto found =
      std::find_if(device.queues.begin(), device.queues.end(), [&](const auto& queue) { return queue.index == index; });
  return found == device.queues.end() ? nullptr : &*found;
}

}  // namespace

void VirtqueueDrift::begin(const record::Observation& observation) {
  refusals_.clear();
  if (observation.lineage != lineage_) {
    lineage_ = observation.lineage;
    boot_side_ = observation.plan.source_side;
    origins_.clear();
    first_seen_.clear();
  }
  for (const record::Event& event : observation.events) {
    if (event.kind != kinds::kLineageStart) continue;
    const std::string side = detail_text(event, "boot_side");
    if (!side.empty()) boot_side_ = side;
  }
}

void VirtqueueDrift::refused(const DeviceName& device, const pci::RingTooLarge& ring,
                             const std::vector<std::string>& lines) {
  refusals_.push_back({device, ring, lines});
}

std::string VirtqueueDrift::origin_of(const std::string& id, std::int64_t size, const std::string& now) {
  if (origins_.size() >= kOriginsMax) return now;
  return origins_.try_emplace(id + ' ' + std::to_string(size), now).first->second;
}

base::Json VirtqueueDrift::evidence_of(const DeviceName& device, const std::string& origin,
                                       const record::Plan& plan) const {
  return {{"device", device.key()},
          {"type", device.type},
          {"address", device.address},
          {"from", origin},
          {"from_qemu", side_build(sides_, origin)},
          {"to", plan.destination_side},
          {"to_qemu", side_build(sides_, plan.destination_side)},
          {"boot_side", boot_side_},
          {"boot_qemu", side_build(sides_, boot_side_)},
          {"source_side", plan.source_side}};
}

// The first queue that is too large; nothing when all fit.
std::optional<VirtqueueMismatch> VirtqueueDrift::seen(const record::Plan& plan, const record::VirtioDevice& device,
                                                      const SideDocuments& source, const SideDocuments& destination) {
  const record::VirtioDevice* there = destination.virtqueues ? destination.virtqueues->find(device.id) : nullptr;
  for (const record::Virtqueue& queue : device.queues) {
    const std::string origin = origin_of(device.id, queue.size, plan.source_side);
    const record::Virtqueue* room = there != nullptr ? queue_of(*there, queue.index) : nullptr;
    // The property names the size of a device's first queue.
    const bool beyond_property = queue.index == 0 && device.property_value && queue.size > *device.property_value;
    const bool beyond_destination = room != nullptr && queue.size > room->size_default;
    if (!beyond_property && !beyond_destination) continue;
    VirtqueueMismatch trouble;
    trouble.device.id = device.id;
    trouble.device.type = device.type;
    for (const record::ConfigFunction& function :
         source.space ? source.space->functions : std::vector<record::ConfigFunction>{}) {
      if (function.id == device.id) trouble.device.address = function.address;
    }
    trouble.origin_side = origin;
    trouble.evidence = evidence_of(trouble.device, origin, plan);
    trouble.evidence["queue"] = queue.index;
    trouble.evidence["size"] = queue.size;
    trouble.evidence["size_default"] = queue.size_default;
    trouble.title = fmt::format("{}: virtqueue {} has {} entries since the guest set it up on {}",
                                trouble.device.words(), queue.index, queue.size, side_words(sides_, origin));
    if (device.property_value) {
      trouble.evidence["property"] = device.property;
      trouble.evidence["property_value"] = *device.property_value;
      trouble.title += beyond_property
                           ? fmt::format(", while its property {} says {}", device.property, *device.property_value)
                           : fmt::format(" (its property {} is {})", device.property, *device.property_value);
    }
    if (room != nullptr) {
      trouble.evidence["destination_size_max"] = room->size_default;
      trouble.title +=
          fmt::format("; {} made it with {}", side_words(sides_, plan.destination_side), room->size_default);
    }
    const auto properties = differing_properties(source, destination, device.id);
    if (!properties.empty()) {
      trouble.evidence["properties"] = properties;
      trouble.title += "; property " + base::join(properties, "; ");
    }
    return trouble;
  }
  return std::nullopt;
}

VirtqueueMismatch VirtqueueDrift::told(const record::Observation& observation, const Refusal& refusal) {
  const record::Plan& plan = observation.plan;
  VirtqueueMismatch trouble;
  trouble.device = refusal.device;
  trouble.refused = true;
  const auto first = first_seen_.find(refusal.device.id);
  trouble.origin_side =
      origin_of(refusal.device.key(), refusal.ring.size, first != first_seen_.end() ? first->second : boot_side_);
  trouble.evidence = evidence_of(trouble.device, trouble.origin_side, plan);
  trouble.evidence["queue"] = refusal.ring.queue;
  trouble.evidence["size"] = refusal.ring.size;
  trouble.evidence["destination_size_max"] = refusal.ring.size_max;
  trouble.evidence["lines"] = refusal.lines;
  trouble.title = fmt::format(
      "{}: virtqueue {} has {} entries since the guest set it up on {}; {} allows {} and refused the load in iteration "
      "{} (property queue-size)",
      trouble.device.words(), refusal.ring.queue, refusal.ring.size, side_words(sides_, trouble.origin_side),
      side_words(sides_, plan.destination_side), refusal.ring.size_max, observation.iteration);
  return trouble;
}

std::vector<VirtqueueMismatch> VirtqueueDrift::troubles(const record::Observation& observation,
                                                        const SideDocuments& source, const SideDocuments& destination) {
  std::vector<VirtqueueMismatch> found;
  std::map<std::string, std::string> now;
  for (const base::Json& device : *source.device_set) {
    const std::string id = base::json_get<std::string>(device, "id", "");
    const auto known = first_seen_.find(id);
    now[id] = known != first_seen_.end() ? known->second : observation.plan.source_side;
  }
  if (!now.empty()) first_seen_ = std::move(now);
  if (source.virtqueues) {
    // A device that went takes its origin along: one of the same name may come back on another side.
    std::erase_if(origins_, [&](const auto& origin) {
      return source.virtqueues->find(origin.first.substr(0, origin.first.find(' '))) == nullptr;
    });
    for (const record::VirtioDevice& device : source.virtqueues->devices) {
      if (auto trouble = seen(observation.plan, device, source, destination)) found.push_back(std::move(*trouble));
    }
  }
  for (const Refusal& refusal : refusals_) {
    const auto known = std::find_if(found.begin(), found.end(), [&](const VirtqueueMismatch& trouble) {
      return !refusal.device.id.empty() && trouble.device.id == refusal.device.id;
    });
    if (known == found.end()) {
      found.push_back(told(observation, refusal));
      continue;
    }
    known->refused = true;
    known->evidence["lines"] = refusal.lines;
    known->title += fmt::format("; the load was refused in iteration {}", observation.iteration);
  }
  return found;
}

}  // namespace migsoak::detect
