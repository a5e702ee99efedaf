// virtio-blk: any PCI slot; its serial number is its id.
#include "hypervisor/device_type.h"
#include "ops/hotplug/hotplug.h"

namespace migsoak::ops {

HotplugKind kind_virtio_blk() {
  HotplugKind kind{};
  kind.name = hypervisor::type_name_virtio_blk();
  kind.summary = "a virtio-blk disk that QEMU serves from a file";
  kind.prefix = "vb";
  kind.count_max = 8;
  kind.guest_identity = [](const hypervisor::DeviceSet& devices, const hypervisor::DeviceSpec& device,
                           int) -> base::Json {
    return {{"what", "disk"}, {"pci_address", hypervisor::pci_address(devices, device)}};
  };
  return kind;
}

}  // namespace migsoak::ops
