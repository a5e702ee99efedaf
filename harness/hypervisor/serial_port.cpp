// serial-port: a port of a virtio-serial controller; its address is the port number, from 1 (0 is the console).
#include "hypervisor/device_type.h"

namespace migsoak::hypervisor {

base::Result<DeviceParts> parts_of_serial_port(const DeviceSpec& device) {
  DeviceParts parts;
  const std::string chardev = device.id + "-char";
  parts.backends.push_back({"chardev", chardev, {{"backend", "null"}, {"id", chardev}}});
  parts.frontend = {{"driver", "virtserialport"}, {"id", device.id}, {"bus", device.bus}};
  parts.frontend.emplace_back("nr", number_of(device.address));
  parts.frontend.emplace_back("chardev", chardev);
  parts.frontend.emplace_back("name", device.id);
  MIGSOAK_TRY(append_properties(device, {}, parts.frontend));
  return parts;
}

}  // namespace migsoak::hypervisor
