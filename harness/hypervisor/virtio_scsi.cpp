// virtio-scsi: the controller that scsi-disk needs.
#include "hypervisor/device_type.h"

namespace migsoak::hypervisor {

base::Result<DeviceParts> parts_of_virtio_scsi(const DeviceSpec& device) {
  DeviceParts parts;
  parts.frontend = pci_frontend("virtio-scsi-pci", device);
  MIGSOAK_TRY(append_properties(device, {"bus"}, parts.frontend));
  return parts;
}

}  // namespace migsoak::hypervisor
