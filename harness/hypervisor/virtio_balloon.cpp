// virtio-balloon: a machine has one at most.
#include "hypervisor/device_type.h"

namespace migsoak::hypervisor {

base::Result<DeviceParts> parts_of_virtio_balloon(const DeviceSpec& device) {
  DeviceParts parts;
  parts.frontend = pci_frontend("virtio-balloon-pci", device);
  MIGSOAK_TRY(append_properties(device, {"bus"}, parts.frontend));
  return parts;
}

}  // namespace migsoak::hypervisor
