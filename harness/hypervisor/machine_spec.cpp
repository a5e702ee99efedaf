#include "hypervisor/machine_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/text.h"
#include "hypervisor/device_type.h"
#include "hypervisor/sockets.h"
#include "proc/run_dir.h"

namespace migsoak::hypervisor {
using base::ErrorKind;

namespace {

// Devices sit directly on the root bus of either machine (pci.0, or pcie.0 as integrated endpoints): slot 1 holds the
// PIIX functions of pc, 0x1f the ICH9's of q35.
constexpr int kFirstSlot = 0x4;
constexpr int kLastSlot = 0x1e;
constexpr std::uint64_t kMiB = 1u << 20;

// What QEMU accepts as an id (util/id.c, id_wellformed).
bool is_qemu_id(const std::string& id) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto inner = [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_'; };
  return !id.empty() && letter(id.front()) && std::all_of(id.begin(), id.end(), inner);
}

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
  // panic=0: a guest that died stays, to be seen. loglevel=4: warnings and worse.
  // no_timer_check: on a busy host TCG delivers the timer too late for the kernel's check of it, and the kernel panics
  // at boot ("IO-APIC + timer doesn't work!", arch/x86/kernel/apic/io_apic.c); under KVM Linux skips that check by
  // itself.
  argv.insert(argv.end(), {"-append", "console=ttyS0,115200 panic=0 loglevel=4 no_timer_check"});
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
  int slot = kFirstSlot;
  for (const DeviceSpec& device : spec.devices) {
    if (!is_qemu_id(device.id)) {
      return base::fail(ErrorKind::bad_input, fmt::format("device id '{}': must start with a letter and hold only "
                                                          "letters, digits, '-', '.', '_'",
                                                          base::printable(device.id)));
    }
    if (!ids.insert(device.id).second) {
      return base::fail(ErrorKind::bad_input, fmt::format("device id '{}' is there twice", device.id));
    }
    const auto& types = device_types();
    const auto type = std::find_if(types.begin(), types.end(), [&](const auto& t) { return t.name == device.type; });
    if (type == types.end()) {
      const std::string near = base::nearest_name(device.type, device_type_names());
      return base::fail(ErrorKind::bad_input,
                        fmt::format("device {}: unknown type '{}'{}", device.id, base::printable(device.type),
                                    near.empty() ? "" : "; did you mean '" + near + "'?"));
    }
    if (slot > kLastSlot) {
      return base::fail(ErrorKind::bad_input, fmt::format("more than {} devices", kLastSlot - kFirstSlot + 1));
    }
    MIGSOAK_TRY(type->append_arguments(device, fmt::format("{:#x}", slot++), argv));
  }
  return {};
}

}  // namespace

std::string pci_address(std::size_t index) {
  return fmt::format("0000:00:{:02x}.0", static_cast<std::size_t>(kFirstSlot) + index);
}

base::Result<std::vector<std::string>> command_line(const MachineSpec& spec) {
  if (spec.qemu.empty()) return base::fail(ErrorKind::bad_input, "no QEMU executable");
  if (spec.memory_bytes == 0 || spec.memory_bytes % kMiB != 0) {
    return base::fail(ErrorKind::bad_input,
                      fmt::format("memory of {} bytes: must be a multiple of 1 MiB", spec.memory_bytes));
  }
  if (spec.cpus < 1) return base::fail(ErrorKind::bad_input, fmt::format("{} cpus: at least 1", spec.cpus));
  if (spec.machine.empty()) return base::fail(ErrorKind::bad_input, "no machine type");

  std::vector<std::string> argv = spec.wrapper;
  argv.push_back(spec.qemu);
  // Thread names make stacks readable; the name itself is no part of the machine.
  argv.insert(argv.end(), {"-name", fmt::format("{},debug-threads=on", escape_commas(spec.instance))});
  argv.insert(argv.end(), {"-nodefaults", "-no-user-config", "-display", "none", "-msg", "timestamp=off"});
  // A guest that reboots or triple-faults must not come back as if nothing had been: QEMU ends, which is seen.
  argv.push_back("-no-reboot");
  argv.insert(argv.end(), {"-machine", spec.machine + ",memory-backend=ram0"});
  MIGSOAK_TRY(append_accel(spec, argv));
  argv.insert(argv.end(), {"-smp", std::to_string(spec.cpus)});
  argv.insert(argv.end(), {"-m", fmt::format("{}M", spec.memory_bytes / kMiB)});
  argv.insert(argv.end(), {"-object", fmt::format("memory-backend-memfd,id=ram0,size={},share=on", spec.memory_bytes)});

  for (const auto& path : {qmp_socket_path(spec), agent_socket_path(spec), console_socket_path(spec)}) {
    MIGSOAK_TRY(proc::check_socket_path(path));
  }
  append_chardev(argv, "qmp0", qmp_socket_path(spec));
  argv.insert(argv.end(), {"-mon", "chardev=qmp0,mode=control"});
  append_chardev(argv, "console", console_socket_path(spec));
  append_chardev(argv, "agent", agent_socket_path(spec));
  argv.insert(argv.end(), {"-serial", "chardev:console", "-serial", "chardev:agent"});

  append_kernel(spec, argv);
  MIGSOAK_TRY(append_devices(spec, argv));
  if (spec.incoming) argv.insert(argv.end(), {"-incoming", "defer"});
  argv.insert(argv.end(), spec.extra_args.begin(), spec.extra_args.end());
  return argv;
}

}  // namespace migsoak::hypervisor
