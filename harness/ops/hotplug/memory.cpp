// memory: a DIMM slot. The guest knows DIMMs by their sum alone: it must have as many as the set says.
#include <algorithm>

#include "hypervisor/device_type.h"
#include "ops/hotplug/hotplug.h"

namespace migsoak::ops {

HotplugKind kind_memory() {
  HotplugKind kind{};
  kind.name = "memory";
  kind.summary = "a DIMM of 128 MiB";
  kind.prefix = "dm";
  kind.most = 4;
  kind.first_address = 0;
  kind.sign = [](const hypervisor::DeviceSet& devices, const hypervisor::DeviceSpec& device, int) -> base::Json {
    const auto count = std::count_if(devices.begin(), devices.end(),
                                     [&device](const auto& other) { return other.type == device.type; });
    return {{"what", "memory"}, {"hotplugged_bytes", static_cast<std::uint64_t>(count) * hypervisor::kDimmBytes}};
  };
  return kind;
}

}  // namespace migsoak::ops
