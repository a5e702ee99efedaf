// root-port: a PCI Express port (q35) with one slot behind it, into which one device can be plugged.
#include "hypervisor/device_type.h"

namespace migsoak::hypervisor {

Properties root_port_frontend(const DeviceSpec& device, std::int64_t number) {
  Properties frontend = pci_frontend("pcie-root-port", device);
  frontend.emplace_back("chassis", number);
  frontend.emplace_back("slot", number);
  return frontend;
}

base::Result<DeviceParts> parts_of_root_port(const DeviceSpec& device) {
  DeviceParts parts;
  parts.frontend = root_port_frontend(device, number_of(device.address));
  MIGSOAK_TRY(append_properties(device, {"bus"}, parts.frontend));
  return parts;
}

}  // namespace migsoak::hypervisor
