// MachineSpec: all that decides a QEMU's command line. One device set makes the command lines of both ends.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "guest/image.h"

namespace migsoak::hypervisor {

struct DeviceSpec {
  std::string id;
  std::string type;         // scenario name: "virtio-blk" | "vhost-user-blk" (catalog: hypervisor/devices.def)
  std::string socket_path;  // vhost-user: the target's socket for this QEMU
  std::string image_path;   // virtio-blk: the disk file, raw
  std::map<std::string, base::Json> props;  // QEMU device properties, this side's overrides already applied
};

struct MachineSpec {
  std::string side;
  std::string qemu;  // executable
  std::map<std::string, std::string> env;
  std::vector<std::string> wrapper;
  std::vector<std::string> extra_args;
  std::string machine = "q35";
  std::uint64_t memory_bytes = 128u << 20;
  int cpus = 1;
  std::string accel = "tcg";  // "kvm" | "tcg", already resolved
  guest::GuestImage image;
  std::vector<DeviceSpec> devices;  // in PCI slot order
  bool incoming = false;            // -incoming defer; else boots the kernel
  std::string run_dir;              // where the sockets of this process go
  std::string instance;             // short unique name for its socket files: "q17"
  std::string log_file;
};

// argv, wrapper included. Pure. Kind bad_input for an unknown device type or a property the type can't take.
// Same spec but `incoming` => same machine: devices have explicit PCI addresses.
base::Result<std::vector<std::string>> command_line(const MachineSpec& spec);

// Where the index-th device of a set sits, as the guest's kernel names it: "0000:00:04.0". What a vhost-user disk says
// as its serial number is the target's affair (qemu-storage-daemon 7.2: always "vhost_user_blk"), so the address names
// it.
std::string pci_address(std::size_t index);

std::vector<std::string> device_type_names();

}  // namespace migsoak::hypervisor
