// cpu: a socket. The guest knows CPUs by their number: it must have as many as the set says.
#include <algorithm>

#include "hypervisor/device_type.h"
#include "ops/hotplug/hotplug.h"

namespace migsoak::ops {

HotplugKind kind_cpu() {
  HotplugKind kind{};
  kind.name = hypervisor::type_name_cpu();
  kind.summary = "a CPU in a socket of its own";
  kind.prefix = "cp";
  kind.count_max = 3;
  kind.first_address = 1;
  kind.unplug_settles = "the number of CPUs is part of the machine's state: both ends have to agree on it";
  kind.guest_identity = [](const hypervisor::DeviceSet& devices, const hypervisor::DeviceSpec& device,
                           int boot_cpus) -> base::Json {
    const auto count = std::count_if(devices.begin(), devices.end(),
                                     [&device](const auto& other) { return other.type == device.type; });
    return {{"what", "cpu"}, {"online", boot_cpus + count}};
  };
  return kind;
}

}  // namespace migsoak::ops
