// vhost-user-blk: a disk that a target process serves. QEMU connects to the target's socket as the client. The disk's
// serial number and size come from the target, not from QEMU.
#include <fmt/format.h>

#include "hypervisor/device_type.h"
#include "proc/run_dir.h"

namespace migsoak::hypervisor {

base::Result<void> append_vhost_user_blk(const DeviceSpec& device, const std::string& address,
                                         std::vector<std::string>& argv) {
  if (device.socket_path.empty()) {
    return base::fail(base::ErrorKind::bad_input, fmt::format("device {}: vhost-user-blk needs a target", device.id));
  }
  MIGSOAK_TRY(proc::check_socket_path(device.socket_path), fmt::format("device {}", device.id));
  MIGSOAK_ASSIGN(std::string props, render_properties(device, {"id", "driver", "addr", "bus", "chardev"}));
  // QEMU's own default is one queue per vCPU, which a target with fewer queues refuses.
  if (device.props.count("num-queues") == 0) props += ",num-queues=1";
  argv.push_back("-chardev");
  argv.push_back(fmt::format("socket,id={}-char,path={}", device.id, escape_commas(device.socket_path)));
  argv.push_back("-device");
  argv.push_back(fmt::format("vhost-user-blk-pci,id={0},addr={1},chardev={0}-char{2}", device.id, address, props));
  return {};
}

}  // namespace migsoak::hypervisor
