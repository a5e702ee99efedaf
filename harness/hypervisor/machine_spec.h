// MachineSpec: all that decides a QEMU's command line. One device set makes the command lines of both ends.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "guest/image.h"

namespace migsoak::hypervisor {

struct DeviceSpec {
  std::string id;
  std::string type;                         // scenario name (catalog: hypervisor/devices.def)
  std::string socket_path;                  // vhost-user: where this QEMU meets the target
  std::string image_path;                   // disks that QEMU serves: the file, raw
  std::map<std::string, base::Json> props;  // QEMU device properties, this side's overrides already applied
  std::string bus = {};                     // empty: the machine's root bus, or none; else "rp2", "scsi0.0"
  std::string address = {};  // on that bus. PCI: slot, "0x4"; SCSI: target; port: number; DIMM: slot; CPU: socket.
                             // Empty: the next free slot of the root bus
  int reconnect_ms = 0;      // vhost-user: so often it tries again when the target is gone; 0: never
  bool listens = false;      // vhost-user: QEMU listens on socket_path, and the target connects
  std::string version = {};  // of the QEMU that gets it, as MachineSpec::version; command_line() fills it in
};

// A guest's device set as a value: what it has now, cold-plugged or not. Both ends' command lines derive from it.
using DeviceSet = std::vector<DeviceSpec>;

// A VM in which no guest ever runs: paused, with nothing but what stands here. Its I/O ports and memory are reached
// over QEMU's qtest (Machine::qtest_socket).
struct GuestlessSpec {
  std::vector<std::string> hardware;  // RAM, devices and their backends, as options of QEMU
};

struct MachineSpec {
  std::string side;
  std::string qemu;                    // executable
  std::vector<std::string> qemu_args;  // right behind it: where a build that is not the system's has its firmware
  std::map<std::string, std::string> env;
  std::vector<std::string> wrapper;
  std::vector<std::string> extra_args;
  std::string machine = "q35";
  std::uint64_t memory_bytes = 128u << 20;
  // RAM on top of that: 0, or kOddMemoryBytes, with which the whole is no multiple of 256 KiB (see
  // record/known_defects.def). The same at both ends.
  std::uint64_t memory_extra_bytes = 0;
  // The file that holds the guest's RAM (memory-backend-file, share=on); empty: a memfd of its own. Two QEMUs that run
  // at the same time may name one file only under x-ignore-shared or cpr.
  std::string ram_path = {};
  bool aux_ram_share = false;  // -machine aux-ram-share=on: what cpr-transfer and cpr-exec need (QEMU 10.0)
  int cpus = 1;                // at boot
  int cpus_max = 0;            // room for hotplug, one per socket; 0: none
  int memory_slots = 0;        // DIMM slots of kDimmBytes each; 0: none
  std::string accel = "tcg";   // "kvm" | "tcg", already resolved
  guest::GuestImage image;
  DeviceSet devices;
  // Set: what is said above of RAM, CPUs, image and devices is not used.
  std::optional<GuestlessSpec> guestless = {};
  bool incoming = false;  // waits for a guest; else boots the kernel
  // What `-incoming` says, one after the other: "defer", a URI, or a JSON channel (qapi/migration.json,
  // MigrationChannel).
  std::vector<std::string> incoming_channels = {"defer"};
  std::string version = {};  // of the executable, "10.0.2"; decides how options are spelt. Empty: as of 7.2
  std::string run_dir;       // where the sockets of this process go
  std::string instance;      // short unique name for its socket files: "q17"
  std::string log_file;
};

// What the guest's kernel is told. panic=0: a guest that died stays, to be seen. loglevel=4: warnings and worse.
// no_timer_check: on a busy host TCG delivers the timer too late for the kernel's check of it, and the kernel panics at
// boot ("IO-APIC + timer doesn't work!", arch/x86/kernel/apic/io_apic.c); under KVM Linux skips that check by itself.
// cryptomgr.notests: no ciphers are used, and under TCG their self-tests are a tenth of the boot.
inline constexpr const char* kKernelArguments =
    "console=ttyS0,115200 panic=0 loglevel=4 no_timer_check cryptomgr.notests";

// argv, wrapper included. Pure. Kind bad_input for an unknown device type or a property the type can't take.
// Same spec but `incoming` => same machine: devices have explicit PCI addresses.
base::Result<std::vector<std::string>> command_line(const MachineSpec& spec);

// Gives each PCI device of the set that has no address the next free slot of the root bus. Kind bad_input: the bus is
// full, or an address is taken twice.
base::Result<void> pin_addresses(DeviceSet& devices);

// The place that a device takes, which no other may take: bus and address, "/0x5" on the root bus. What has no bus
// (CPUs, DIMMs) has its type in its stead.
std::string place_of(const DeviceSpec& device);

// Where a PCI device sits, as the guest's kernel names it: "0000:00:04.0". What a vhost-user disk says as its serial
// number is the target's affair (qemu-storage-daemon 7.2: always "vhost_user_blk"), so the address names it. Bus
// numbers are the firmware's: it counts bridges in the order of their slots, and the only bridges are the set's root
// ports. Empty when the device is none of PCI, or has no address.
std::string pci_address(const DeviceSet& devices, const DeviceSpec& device);

// Slots of the root bus that a device may take, on pc and q35 alike: slot 1 holds the PIIX's functions, 0x1f the
// ICH9's.
inline constexpr int kFirstSlot = 0x4;
inline constexpr int kLastSlot = 0x1e;
inline constexpr std::uint64_t kOddMemoryBytes = 8u << 10;  // -m rounds up to that
inline constexpr std::uint64_t kDimmBytes = 128ull << 20;   // one memory block of Linux on x86-64 is as large
std::string slot_name(int slot);                            // "0x4"

std::vector<std::string> device_type_names();

}  // namespace migsoak::hypervisor
