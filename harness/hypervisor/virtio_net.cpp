// virtio-net, on QEMU's user-mode network with the outside shut off: a backend that is real and needs no privilege.
#include "hypervisor/device_type.h"

namespace migsoak::hypervisor {

base::Result<DeviceParts> parts_of_virtio_net(const DeviceSpec& device) {
  DeviceParts parts;
  const std::string netdev = device.id + "-net";
  parts.backends.push_back({"netdev", netdev, {{"type", "user"}, {"id", netdev}, {"restrict", true}}});
  parts.frontend = pci_frontend("virtio-net-pci", device);
  parts.frontend.emplace_back("netdev", netdev);
  parts.frontend.emplace_back("mac", mac_of(device));
  // No boot ROM: it is a RAM block whose size differs from build to build, and nothing here boots from the network.
  if (device.props.count("romfile") == 0) parts.frontend.emplace_back("romfile", "");
  MIGSOAK_TRY(append_properties(device, {"bus"}, parts.frontend));
  return parts;
}

}  // namespace migsoak::hypervisor
