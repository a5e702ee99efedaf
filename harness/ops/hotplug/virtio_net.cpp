// virtio-net: any PCI slot; its MAC address follows from its id.
#include "hypervisor/device_type.h"
#include "ops/hotplug/hotplug.h"

namespace migsoak::ops {

HotplugKind kind_virtio_net() {
  HotplugKind kind{};
  kind.name = hypervisor::type_name_virtio_net();
  kind.summary = "a network card on a UDP socket";
  kind.prefix = "vn";
  kind.count_max = 4;
  kind.guest_identity = [](const hypervisor::DeviceSet&, const hypervisor::DeviceSpec& device, int) -> base::Json {
    return {{"what", "net"}, {"mac", hypervisor::mac_of(device)}};
  };
  return kind;
}

}  // namespace migsoak::ops
