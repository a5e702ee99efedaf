// root-port: a PCI Express port (q35) with one slot behind it, into which one device can be plugged.
#include "hypervisor/device_type.h"

namespace migsoak::hypervisor {

base::Result<DeviceParts> parts_of_root_port(const DeviceSpec& device) {
  DeviceParts parts;
  const auto slot = number_of(device.address);
  parts.frontend = pci_frontend("pcie-root-port", device);
  // What the guest shows as the physical slot; unique in the machine.
  parts.frontend.emplace_back("chassis", slot);
  parts.frontend.emplace_back("slot", slot);
  MIGSOAK_TRY(append_properties(device, {"bus"}, parts.frontend));
  return parts;
}

}  // namespace migsoak::hypervisor
