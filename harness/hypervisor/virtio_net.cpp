// virtio-net, on a UDP socket that nobody answers: a backend that is real and needs no privilege. Not QEMU's user-mode
// network: its state migrates under an instance number that depends on the order in which cards were plugged, so that a
// guest whose first card is gone is refused ("Unknown savevm section or instance 'slirp' 1").
#include "hypervisor/device_type.h"

namespace migsoak::hypervisor {

base::Result<DeviceParts> parts_of_virtio_net(const DeviceSpec& device) {
  DeviceParts parts;
  const std::string netdev = device.id + "-net";
  parts.backends.push_back(
      {"netdev", netdev, {{"type", "socket"}, {"id", netdev}, {"udp", "127.0.0.1:9"}, {"localaddr", "127.0.0.1:0"}}});
  parts.frontend = pci_frontend("virtio-net-pci", device);
  parts.frontend.emplace_back("netdev", netdev);
  parts.frontend.emplace_back("mac", mac_of(device));
  // No boot ROM: it is a RAM block whose size differs from build to build, and nothing here boots from the network.
  if (device.props.count("romfile") == 0) parts.frontend.emplace_back("romfile", "");
  MIGSOAK_TRY(append_properties(device, {"bus"}, parts.frontend));
  return parts;
}

}  // namespace migsoak::hypervisor
