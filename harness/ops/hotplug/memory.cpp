// memory: a DIMM slot. The guest knows DIMMs by their sum alone: it must have as many as the set says.
#include <algorithm>

#include "hypervisor/device_type.h"
#include "ops/hotplug/hotplug.h"

namespace migsoak::ops {

HotplugKind kind_memory() {
  HotplugKind kind{};
  kind.name = hypervisor::type_name_memory();
  kind.summary = "a DIMM of 128 MiB";
  kind.prefix = "dm";
  kind.count_max = 4;
  kind.first_address = 0;
  kind.unplug_settles =
      "a DIMM's RAM block that goes while a migration is set up deadlocks QEMU under TCG: the RCU thread holds the big "
      "lock and waits for the list of RAM blocks (qemu_ram_free), the migration holds the list and waits for a CPU "
      "(ram_init_bitmaps, memory_global_after_dirty_log_sync). Seen on 7.2, 10.0.13 and 11.1.2";
  kind.guest_identity = [](const hypervisor::DeviceSet& devices, const hypervisor::DeviceSpec& device,
                           int) -> base::Json {
    const auto count = std::count_if(devices.begin(), devices.end(),
                                     [&device](const auto& other) { return other.type == device.type; });
    return {{"what", "memory"}, {"hotplugged_bytes", static_cast<std::uint64_t>(count) * hypervisor::kDimmBytes}};
  };
  return kind;
}

}  // namespace migsoak::ops
