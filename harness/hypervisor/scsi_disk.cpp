// scsi-disk: a disk behind a virtio-scsi controller; its address is the SCSI target.
#include "hypervisor/device_type.h"

namespace migsoak::hypervisor {

base::Result<DeviceParts> parts_of_scsi_disk(const DeviceSpec& device) {
  DeviceParts parts;
  MIGSOAK_TRY(append_disk_backend(device, parts));
  parts.frontend = {{"driver", "scsi-hd"}, {"id", device.id}, {"bus", device.bus}, {"channel", 0}};
  parts.frontend.emplace_back("scsi-id", number_of(device.address));
  parts.frontend.emplace_back("lun", 0);
  parts.frontend.emplace_back("drive", device.id + "-raw");
  parts.frontend.emplace_back("serial", device.id);
  parts.frontend.emplace_back("share-rw", true);
  MIGSOAK_TRY(append_properties(device, {}, parts.frontend));
  return parts;
}

}  // namespace migsoak::hypervisor
