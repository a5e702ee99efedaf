// virtio-balloon: any PCI slot; a machine has one at most.
#include "hypervisor/device_type.h"
#include "ops/hotplug/hotplug.h"

namespace migsoak::ops {

HotplugKind kind_virtio_balloon() {
  HotplugKind kind{};
  kind.name = hypervisor::type_name_virtio_balloon();
  kind.summary = "a memory balloon";
  kind.prefix = "ba";
  kind.count_max = 1;
  kind.guest_identity = [](const hypervisor::DeviceSet& devices, const hypervisor::DeviceSpec& device,
                           int) -> base::Json {
    return {{"what", "pci"}, {"pci_address", hypervisor::pci_address(devices, device)}};
  };
  return kind;
}

}  // namespace migsoak::ops
