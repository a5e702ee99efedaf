// cpu: one more, in a socket of its own; its address is the socket. The model is the machine's default.
#include "hypervisor/device_type.h"

namespace migsoak::hypervisor {

base::Result<DeviceParts> parts_of_cpu(const DeviceSpec& device) {
  DeviceParts parts;
  parts.frontend = {{"driver", "qemu64-x86_64-cpu"}, {"id", device.id}};
  parts.frontend.emplace_back("socket-id", number_of(device.address));
  parts.frontend.emplace_back("core-id", 0);
  parts.frontend.emplace_back("thread-id", 0);
  MIGSOAK_TRY(append_properties(device, {}, parts.frontend));
  return parts;
}

}  // namespace migsoak::hypervisor
