// virtio-blk: a disk that QEMU serves itself from a raw file.
#include "hypervisor/device_type.h"

namespace migsoak::hypervisor {

base::Result<DeviceParts> parts_of_virtio_blk(const DeviceSpec& device) {
  DeviceParts parts;
  MIGSOAK_TRY(append_disk_backend(device, parts));
  parts.frontend = pci_frontend("virtio-blk-pci", device);
  parts.frontend.emplace_back("drive", device.id + "-raw");
  parts.frontend.emplace_back("serial", device.id);
  parts.frontend.emplace_back("share-rw", true);
  MIGSOAK_TRY(append_properties(device, {"bus"}, parts.frontend));
  return parts;
}

}  // namespace migsoak::hypervisor
