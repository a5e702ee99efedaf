// virtio-rng: any PCI slot.
#include "hypervisor/device_type.h"
#include "ops/hotplug/hotplug.h"

namespace migsoak::ops {

HotplugKind kind_virtio_rng() {
  HotplugKind kind{};
  kind.name = hypervisor::type_name_virtio_rng();
  kind.summary = "a source of random numbers";
  kind.prefix = "vr";
  kind.count_max = 4;
  kind.guest_identity = [](const hypervisor::DeviceSet& devices, const hypervisor::DeviceSpec& device,
                           int) -> base::Json {
    return {{"what", "pci"}, {"pci_address", hypervisor::pci_address(devices, device)}};
  };
  return kind;
}

}  // namespace migsoak::ops
