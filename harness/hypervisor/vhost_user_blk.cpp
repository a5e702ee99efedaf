// vhost-user-blk: a disk that a target process serves. QEMU connects to the target's socket as the client. The disk's
// serial number and size come from the target, not from QEMU.
#include "hypervisor/device_type.h"

#include <fmt/format.h>

#include "proc/run_dir.h"

namespace migsoak::hypervisor {

base::Result<DeviceParts> parts_of_vhost_user_blk(const DeviceSpec& device) {
  if (device.socket_path.empty()) {
    return base::fail(base::ErrorKind::bad_input, fmt::format("device {}: vhost-user-blk needs a target", device.id));
  }
  MIGSOAK_TRY(proc::check_socket_path(device.socket_path), fmt::format("device {}", device.id));
  DeviceParts parts;
  const std::string chardev = device.id + "-char";
  parts.backends.push_back(
      {"chardev", chardev, {{"backend", "socket"}, {"id", chardev}, {"path", device.socket_path}}});
  parts.frontend = pci_frontend("vhost-user-blk-pci", device);
  parts.frontend.emplace_back("chardev", chardev);
  MIGSOAK_TRY(append_properties(device, {"bus"}, parts.frontend));
  // QEMU's own default is one queue per vCPU, which a target with fewer queues refuses.
  if (device.props.count("num-queues") == 0) parts.frontend.emplace_back("num-queues", 1);
  return parts;
}

}  // namespace migsoak::hypervisor
