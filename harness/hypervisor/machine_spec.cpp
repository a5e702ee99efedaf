#include "hypervisor/machine_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/text.h"
#include "hypervisor/device_type.h"
#include "hypervisor/sockets.h"
#include "proc/run_dir.h"

namespace migsoak::hypervisor {
using base::ErrorKind;

namespace {

constexpr std::uint64_t kMiB = 1u << 20;

void append_chardev(std::vector<std::string>& argv, const std::string& id, const std::string& path) {
  argv.push_back("-chardev");
  argv.push_back(fmt::format("socket,id={},path={},server=on,wait=off", id, escape_commas(path)));
}

void append_kernel(const MachineSpec& spec, std::vector<std::string>& argv) {
  // An idle machine without a guest: firmware only.
  if (spec.image.kernel.empty()) return;
  // A destination gets them too, though it never boots: they make fw_cfg option ROMs, which are RAM blocks that the
  // incoming stream names.
  argv.insert(argv.end(), {"-kernel", spec.image.kernel});
  if (!spec.image.initramfs.empty()) argv.insert(argv.end(), {"-initrd", spec.image.initramfs});
  argv.insert(argv.end(), {"-append", kKernelArguments});
}

base::Result<void> append_accel(const MachineSpec& spec, std::vector<std::string>& argv) {
  if (spec.accel != "kvm" && spec.accel != "tcg") {
    return base::fail(ErrorKind::bad_input, "unknown accelerator '" + base::printable(spec.accel) + "'");
  }
  // TCG's translation cache would grow to 1 GiB on a large host: bounded, a long-lived QEMU's memory becomes flat soon.
  // Start-up and RSS of a short-lived one do not depend on it (measured with 32 and 64 MiB and the default).
  argv.insert(argv.end(), {"-accel", spec.accel == "kvm" ? "kvm" : "tcg,tb-size=64"});
  return {};
}

base::Result<void> append_devices(const MachineSpec& spec, std::vector<std::string>& argv) {
  std::set<std::string> ids;
  DeviceSet devices = spec.devices;
  for (const DeviceSpec& device : devices) {
    if (!ids.insert(device.id).second) {
      return base::fail(ErrorKind::bad_input, fmt::format("device id '{}' is there twice", device.id));
    }
  }
  MIGSOAK_TRY(pin_addresses(devices));
  for (DeviceSpec& device : devices) {
    if (device.version.empty()) device.version = spec.version;
    MIGSOAK_ASSIGN(const DeviceParts parts, device_parts(device));
    MIGSOAK_TRY(append_arguments(parts, argv));
  }
  return {};
}

std::uint64_t ram_bytes(const MachineSpec& spec) {
  return spec.memory_bytes + spec.memory_extra_bytes;
}

std::string size_text(std::uint64_t bytes) {
  return bytes % kMiB == 0 ? fmt::format("{}M", bytes / kMiB) : fmt::format("{}K", bytes / 1024);
}

void append_size(const MachineSpec& spec, std::vector<std::string>& argv) {
  // One CPU per socket, so that a CPU's address is one number on every machine type.
  argv.insert(argv.end(),
              {"-smp", spec.cpus_max > spec.cpus
                           ? fmt::format("{0},sockets={1},cores=1,threads=1,maxcpus={1}", spec.cpus, spec.cpus_max)
                           : std::to_string(spec.cpus)});
  std::string memory = size_text(ram_bytes(spec));
  if (spec.memory_slots > 0) {
    const std::uint64_t most = ram_bytes(spec) + static_cast<std::uint64_t>(spec.memory_slots) * kDimmBytes;
    memory += fmt::format(",slots={},maxmem={}", spec.memory_slots, size_text(most));
  }
  argv.insert(argv.end(), {"-m", memory});
}

void append_qmp(const MachineSpec& spec, std::vector<std::string>& argv) {
  append_chardev(argv, "qmp0", qmp_socket_path(spec));
  argv.insert(argv.end(), {"-mon", "chardev=qmp0,mode=control"});
}

base::Result<void> append_for_guest(const MachineSpec& spec, std::vector<std::string>& argv) {
  if (spec.memory_bytes == 0 || spec.memory_bytes % kMiB != 0) {
    return base::fail(ErrorKind::bad_input,
                      fmt::format("memory of {} bytes: must be a multiple of 1 MiB", spec.memory_bytes));
  }
  if (spec.memory_extra_bytes % kOddMemoryBytes != 0) {
    return base::fail(ErrorKind::bad_input,
                      fmt::format("memory of {} bytes more: must be a multiple of 8 KiB", spec.memory_extra_bytes));
  }
  if (spec.cpus < 1) return base::fail(ErrorKind::bad_input, fmt::format("{} cpus: at least 1", spec.cpus));
  // A guest that reboots or triple-faults must not come back as if nothing had been: QEMU ends, which is seen.
  argv.push_back("-no-reboot");
  argv.insert(argv.end(),
              {"-machine", spec.machine + ",memory-backend=ram0" + (spec.aux_ram_share ? ",aux-ram-share=on" : "")});
  MIGSOAK_TRY(append_accel(spec, argv));
  append_size(spec, argv);
  const std::string backend =
      spec.ram_path.empty() ? "memory-backend-memfd" : "memory-backend-file,mem-path=" + escape_commas(spec.ram_path);
  argv.insert(argv.end(), {"-object", fmt::format("{},id=ram0,size={},share=on", backend, ram_bytes(spec))});
  append_qmp(spec, argv);
  append_chardev(argv, "console", console_socket_path(spec));
  append_chardev(argv, "agent", agent_socket_path(spec));
  argv.insert(argv.end(), {"-serial", "chardev:console", "-serial", "chardev:agent"});
  append_kernel(spec, argv);
  return append_devices(spec, argv);
}

base::Result<void> append_guestless(const MachineSpec& spec, std::vector<std::string>& argv) {
  argv.insert(argv.end(), {"-S", "-machine", spec.machine});
  MIGSOAK_TRY(append_accel(spec, argv));
  append_qmp(spec, argv);
  argv.insert(argv.end(), {"-qtest", fmt::format("unix:{},server=on,wait=off", escape_commas(qtest_socket_path(spec))),
                           "-qtest-log", "none"});
  argv.insert(argv.end(), spec.guestless->hardware.begin(), spec.guestless->hardware.end());
  return {};
}

bool is_root_bus(const std::string& bus) {
  return bus.empty() || bus == "pci.0" || bus == "pcie.0";
}

bool is_pci(const DeviceSpec& device) {
  return is_attached_to(Attachment::pci, device.type);
}

}  // namespace

std::string slot_name(int slot) {
  return fmt::format("{:#x}", slot);
}

std::string place_of(const DeviceSpec& device) {
  const std::string bus = is_pci(device) && is_root_bus(device.bus) ? ""
                          : device.bus.empty()                      ? device.type
                                                                    : device.bus;
  return bus + "/" + device.address;
}

base::Result<void> pin_addresses(DeviceSet& devices) {
  std::map<std::string, std::string> taken;  // place -> device
  for (const DeviceSpec& device : devices) {
    if (device.address.empty()) continue;
    const auto [at, fresh] = taken.emplace(place_of(device), device.id);
    if (!fresh) {
      return base::fail(ErrorKind::bad_input, fmt::format("device {}: address {} is taken by device {}", device.id,
                                                          base::printable(device.address), at->second));
    }
  }
  int slot = kFirstSlot;
  for (DeviceSpec& device : devices) {
    // An unknown type is its own error, later.
    const DeviceType* type = find_device_type(device.type);
    if (!device.address.empty() || (type != nullptr && type->attachment != Attachment::pci)) continue;
    while (slot <= kLastSlot && taken.count("/" + slot_name(slot)) != 0) ++slot;
    if (slot > kLastSlot) {
      return base::fail(ErrorKind::bad_input, fmt::format("more than {} devices", kLastSlot - kFirstSlot + 1));
    }
    device.address = slot_name(slot++);
  }
  return {};
}

std::string pci_address(const DeviceSet& devices, const DeviceSpec& device) {
  if (!is_pci(device) || device.address.empty()) return "";
  const auto slot = number_of(device.address);
  if (is_root_bus(device.bus)) return fmt::format("0000:00:{:02x}.0", slot);
  int bus = 1;
  const auto port = std::find_if(devices.begin(), devices.end(), [&](const auto& d) { return d.id == device.bus; });
  if (port == devices.end()) return "";
  for (const DeviceSpec& other : devices) {
    if (other.type == "root-port" && number_of(other.address) < number_of(port->address)) ++bus;
  }
  return fmt::format("0000:{:02x}:{:02x}.0", bus, slot);
}

base::Result<std::vector<std::string>> command_line(const MachineSpec& spec) {
  if (spec.qemu.empty()) return base::fail(ErrorKind::bad_input, "no QEMU executable");
  if (spec.machine.empty()) return base::fail(ErrorKind::bad_input, "no machine type");
  for (const auto& path : socket_paths(spec)) MIGSOAK_TRY(proc::check_socket_path(path));

  std::vector<std::string> argv = spec.wrapper;
  argv.push_back(spec.qemu);
  argv.insert(argv.end(), spec.qemu_args.begin(), spec.qemu_args.end());
  // Thread names make stacks readable; the name itself is no part of the machine.
  argv.insert(argv.end(), {"-name", fmt::format("{},debug-threads=on", escape_commas(spec.instance))});
  argv.insert(argv.end(), {"-nodefaults", "-no-user-config", "-display", "none", "-msg", "timestamp=off"});
  MIGSOAK_TRY(spec.guestless ? append_guestless(spec, argv) : append_for_guest(spec, argv));
  if (spec.incoming) {
    for (const std::string& channel : spec.incoming_channels) argv.insert(argv.end(), {"-incoming", channel});
  }
  argv.insert(argv.end(), spec.extra_args.begin(), spec.extra_args.end());
  return argv;
}

}  // namespace migsoak::hypervisor
