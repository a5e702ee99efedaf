// virtio-serial: the controller that serial-port needs.
#include "hypervisor/device_type.h"

namespace migsoak::hypervisor {

base::Result<DeviceParts> parts_of_virtio_serial(const DeviceSpec& device) {
  DeviceParts parts;
  parts.frontend = pci_frontend("virtio-serial-pci", device);
  MIGSOAK_TRY(append_properties(device, {"bus"}, parts.frontend));
  return parts;
}

}  // namespace migsoak::hypervisor
