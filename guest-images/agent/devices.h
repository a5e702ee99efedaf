// What the guest has, as sysfs tells it: the facts that `inventory` lists and `await` waits for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace migsoak::agent {

struct PciFunction {
  std::string address;       // "0000:00:04.0"
  std::string id;            // "1af4:1001"
  std::string device_class;  // "010000"
  std::string driver;        // of the PCI function: "virtio-pci"; empty when none is bound
  std::string child;         // "virtio0"; empty when it is no virtio device
  std::string child_driver;  // "virtio_blk"
  bool running = false;      // a driver is bound and, if it is a virtio device, has told the device so (DRIVER_OK)
};
PciFunction read_pci_function(const std::string& address);
std::vector<PciFunction> list_pci_functions();

struct BlockDevice {
  std::string name;         // "vda"
  std::string serial;       // how the host knows it; the name when it has none
  std::string pci_address;  // "0000:00:04.0": tells disks with one serial apart (vhost-user-blk has a fixed one)
  std::string scsi;         // "0:1:0" (channel, target, LUN); empty when it is no SCSI disk
  std::string diskseq;      // the kernel's own number: a name comes back, this does not
  std::uint64_t size_bytes = 0;
  bool read_only = false;
};
// virtio and SCSI disks, sorted by name.
std::vector<BlockDevice> list_block_devices();
bool still_there(const BlockDevice& device);
// It is listed, and has no node in /dev yet, or none that can be opened.
bool is_coming_up(const BlockDevice& device);

struct NetInterface {
  std::string name;  // "eth0"
  std::string mac;
  std::string pci_address;
  std::string driver;  // "virtio_net"
  bool up = false;
};
std::vector<NetInterface> list_net_interfaces();

struct SerialPort {
  std::string node;  // "vport0p1"
  std::string name;  // "org.migsoak.port0"; empty when it has none
  std::string pci_address;
};
std::vector<SerialPort> list_serial_ports();

// Names that /dev/hwrng can be switched to and that are virtio devices.
std::vector<std::string> list_rngs();

struct MemoryState {
  std::uint64_t online_bytes = 0;
  std::uint64_t hotplugged_bytes = 0;  // online beyond what was there at boot
  std::uint64_t offline_blocks = 0;    // there, but not in use
};
// The first call remembers what is there at boot.
MemoryState read_memory();
// "0-2,5" -> 4
std::uint64_t online_cpus();

}  // namespace migsoak::agent
