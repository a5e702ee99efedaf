// scsi-disk: a target of the virtio-scsi controller; its serial number is its id.
#include "hypervisor/device_type.h"
#include "ops/hotplug/hotplug.h"

namespace migsoak::ops {

HotplugKind kind_scsi_disk() {
  HotplugKind kind{};
  kind.name = hypervisor::type_name_scsi_disk();
  kind.summary = "a disk behind a virtio-scsi controller";
  kind.prefix = "sd";
  kind.count_max = 6;
  kind.bus = "scsi0.0";
  kind.controller = "scsi0";
  kind.controller_type = "virtio-scsi";
  kind.first_address = 0;
  kind.guest_identity = [](const hypervisor::DeviceSet&, const hypervisor::DeviceSpec& device, int) -> base::Json {
    return {{"what", "disk"}, {"serial", device.id}};
  };
  return kind;
}

}  // namespace migsoak::ops
