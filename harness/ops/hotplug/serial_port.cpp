// serial-port: a port of the virtio-serial controller; port 0 is kept for a console.
#include "hypervisor/device_type.h"
#include "ops/hotplug/hotplug.h"

namespace migsoak::ops {

HotplugKind kind_serial_port() {
  HotplugKind kind{};
  kind.name = hypervisor::type_name_serial_port();
  kind.summary = "a port of a virtio-serial controller";
  kind.prefix = "sp";
  kind.count_max = 6;
  kind.bus = "ports0.0";
  kind.controller = "ports0";
  kind.controller_type = "virtio-serial";
  kind.first_address = 1;
  kind.unplug_settles =
      "a port that goes while the state is being sent is missing from the controller's list of ports, and the load is "
      "refused (hw/char/virtio-serial-bus.c, fetch_active_ports_list): the two ends of a migration have to have the "
      "same";
  kind.guest_identity = [](const hypervisor::DeviceSet&, const hypervisor::DeviceSpec& device, int) -> base::Json {
    return {{"what", "port"}, {"name", device.id}};
  };
  return kind;
}

}  // namespace migsoak::ops
