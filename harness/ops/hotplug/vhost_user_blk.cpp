// vhost-user-blk: needs hotplug.target; all such disks have one serial number, so the address tells them apart.
#include "hypervisor/device_type.h"
#include "ops/hotplug/hotplug.h"

namespace migsoak::ops {

HotplugKind kind_vhost_user_blk() {
  HotplugKind kind{};
  kind.name = hypervisor::type_name_vhost_user_blk();
  kind.summary = "a disk of a vhost-user target";
  kind.prefix = "vu";
  kind.count_max = 4;
  kind.guest_identity = [](const hypervisor::DeviceSet& devices, const hypervisor::DeviceSpec& device,
                           int) -> base::Json {
    return {{"what", "disk"}, {"pci_address", hypervisor::pci_address(devices, device)}};
  };
  return kind;
}

}  // namespace migsoak::ops
