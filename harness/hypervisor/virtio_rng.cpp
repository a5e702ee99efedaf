// virtio-rng, fed from the host.
#include "hypervisor/device_type.h"

namespace migsoak::hypervisor {

base::Result<DeviceParts> parts_of_virtio_rng(const DeviceSpec& device) {
  DeviceParts parts;
  const std::string object = device.id + "-rng";
  parts.backends.push_back(
      {"object", object, {{"qom-type", "rng-random"}, {"id", object}, {"filename", "/dev/urandom"}}});
  parts.frontend = pci_frontend("virtio-rng-pci", device);
  parts.frontend.emplace_back("rng", object);
  MIGSOAK_TRY(append_properties(device, {"bus"}, parts.frontend));
  return parts;
}

}  // namespace migsoak::hypervisor
