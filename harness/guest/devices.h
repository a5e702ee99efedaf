// What the guest says of its devices, and how it is asked to use and to let go of them: arguments and answers of the
// agent's commands inventory, await, adopt_disk, release_disk and pci_config (guest-images/agent/PROTOCOL.md).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace migsoak::guest {

struct GuestPciFunction {
  std::string address;  // "0000:00:04.0"
  std::string id;       // "1af4:1001": vendor and device
  std::string device_class;
  std::string driver;         // bound to the function; empty: none
  std::string virtio_driver;  // bound to the virtio device in it, "virtio_blk"; empty when it is no virtio device
  bool running = false;       // has a driver and, if virtio, DRIVER_OK
};
struct GuestDisk {
  std::string name, serial, pci_address;
  std::string scsi;  // "0:1:0": channel, target, LUN
  std::uint64_t size_bytes = 0;
};
struct GuestNetInterface {
  std::string name, mac, pci_address, driver;
  bool up = false;
};
struct GuestPort {
  std::string node, name, pci_address;
};
struct Inventory {
  bool same = false;   // as at the digest that was given: the rest is empty then
  std::string digest;  // of everything below
  std::vector<GuestPciFunction> pci;
  std::vector<GuestDisk> disks;
  std::vector<GuestNetInterface> interfaces;
  std::vector<GuestPort> ports;
  std::uint64_t rngs = 0;
  std::uint64_t memory_online_bytes = 0;
  std::uint64_t memory_hotplugged_bytes = 0;  // online beyond what was there at boot
  std::uint64_t memory_offline_blocks = 0;
  std::uint64_t cpus_online = 0;
  double guest_ms = 0;
};

// What is waited for. "present" means that it can be used: its driver is bound, a disk answers a read, an interface is
// up, a port has its node, memory and CPUs are online.
struct AwaitSpec {
  enum class What { pci, disk, scsi, net, port, memory, cpu };
  What what = What::pci;
  bool present = true;
  // Which one; an empty field does not matter. pci: pci_address. disk: pci_address, serial. scsi: scsi ("0:1:0"),
  // serial, pci_address (the controller's). net: mac, pci_address. port: port, pci_address.
  std::string pci_address, serial, scsi, mac, port;
  std::uint64_t count = 0;   // memory: hotplugged bytes that shall be online, exactly. cpu: CPUs that shall be online
  bool needs_driver = true;  // pci: false when the guest has no driver for it, and seeing it is all
  std::uint64_t timeout_ms = 5000;  // by the guest's clock; the answer comes then in any case
};
struct AwaitReport {
  bool holds = false;
  std::string seen;  // what is there: for a person
  double waited_ms = 0;
};

// Which disk. All that is given has to match; `id` is how an adopted disk was called (a boot disk: its serial number).
struct DiskIdentity {
  std::string id, pci_address, scsi, serial;
};
enum class DiskContent {
  automatic,  // as kept, where something is known of that id, else fresh
  fresh,      // write the area anew
  kept,       // the disk of that id is back: all that it held has to be there still
};

}  // namespace migsoak::guest
