// vhost-user-blk: a disk that a target process serves. QEMU connects to the target's socket, or listens there itself
// and starts when the target has connected. The disk's serial number and size come from the target, not from QEMU.
#include "hypervisor/device_type.h"

#include <fmt/format.h>

#include "base/version.h"
#include "proc/run_dir.h"

namespace migsoak::hypervisor {

namespace {

// The chardev's option for it: whole seconds in "reconnect" up to 9.1; "reconnect-ms" from 9.2 on, where the former is
// deprecated; 11.1 has the latter only (qapi/char.json, ChardevSocket).
std::pair<std::string, base::Json> reconnect_option(const DeviceSpec& device) {
  if (!base::older_version(device.version, "9.2")) return {"reconnect-ms", device.reconnect_ms};
  return {"reconnect", (device.reconnect_ms + 999) / 1000};
}

}  // namespace

Backend vhost_user_chardev(const std::string& id, const DeviceSpec& device) {
  Backend chardev{"chardev", id, {{"backend", "socket"}, {"id", id}, {"path", device.socket_path}}};
  if (device.listens) {
    // Who listens takes the target's next connection by itself.
    chardev.properties.emplace_back("server", true);
  } else if (device.reconnect_ms > 0) {
    chardev.properties.push_back(reconnect_option(device));
  }
  return chardev;
}

base::Result<DeviceParts> parts_of_vhost_user_blk(const DeviceSpec& device) {
  if (device.socket_path.empty()) {
    return base::fail(base::ErrorKind::bad_input, fmt::format("device {}: vhost-user-blk needs a target", device.id));
  }
  MIGSOAK_TRY(proc::check_socket_path(device.socket_path), fmt::format("device {}", device.id));
  DeviceParts parts;
  const std::string chardev = chardev_of(device.id);
  parts.backends.push_back(vhost_user_chardev(chardev, device));
  parts.frontend = pci_frontend("vhost-user-blk-pci", device);
  parts.frontend.emplace_back("chardev", chardev);
  MIGSOAK_TRY(append_properties(device, {"bus"}, parts.frontend));
  // QEMU's own default is one queue per vCPU, which a target with fewer queues refuses.
  if (device.props.count("num-queues") == 0) parts.frontend.emplace_back("num-queues", 1);
  return parts;
}

}  // namespace migsoak::hypervisor
