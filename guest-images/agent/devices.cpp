#include "devices.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <set>

#include "boot.h"
#include "sysfs.h"

namespace migsoak::agent {

namespace {

constexpr unsigned long kDriverOk = 4;  // virtio 1.1, 2.1 "Device Status Field"
constexpr unsigned long kInterfaceUp = 1;
constexpr std::uint64_t kSysfsSectorBytes = 512;  // "size" of a block device, whatever its own sectors are

unsigned long hex_in(const std::string& path) {
  return strtoul(read_text(path).c_str(), nullptr, 16);
}

// Vital product data page 0x80: four bytes of header, then the serial number (SPC-4, 7.8.13).
std::string scsi_serial(const std::string& device) {
  const int fd = open((device + "/vpd_pg80").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  char page[260];
  const ssize_t got = read(fd, page, sizeof page);
  close(fd);
  if (got <= 4) return "";
  std::string serial(page + 4, static_cast<std::size_t>(got) - 4);
  while (!serial.empty() && (serial.back() == ' ' || serial.back() == '\0')) serial.pop_back();
  return serial;
}

}  // namespace

PciFunction read_pci_function(const std::string& address) {
  const std::string base = "/sys/bus/pci/devices/" + address;
  PciFunction function;
  function.address = address;
  const std::string vendor = read_text(base + "/vendor");
  if (vendor.size() < 3) return function;
  const std::string device = read_text(base + "/device");
  const std::string device_class = read_text(base + "/class");
  function.id = vendor.substr(2) + ":" + (device.size() > 2 ? device.substr(2) : "");
  function.device_class = device_class.size() > 2 ? device_class.substr(2) : "";
  function.driver = link_name(base + "/driver");
  function.running = !function.driver.empty();
  if (function.driver != "virtio-pci") return function;
  function.running = false;
  for (const std::string& name : list_folder(base)) {
    if (name.compare(0, 6, "virtio") != 0 || name.find_first_not_of("0123456789", 6) != std::string::npos) continue;
    function.child = name;
    function.child_driver = link_name(base + "/" + name + "/driver");
    function.running = !function.child_driver.empty() && (hex_in(base + "/" + name + "/status") & kDriverOk) != 0;
  }
  return function;
}

std::vector<PciFunction> list_pci_functions() {
  std::vector<PciFunction> functions;
  for (const std::string& address : list_folder("/sys/bus/pci/devices")) {
    functions.push_back(read_pci_function(address));
  }
  return functions;
}

std::vector<BlockDevice> list_block_devices() {
  std::vector<BlockDevice> devices;
  for (const std::string& name : list_folder("/sys/block")) {
    const std::string kind = name.substr(0, 2);
    if (kind != "vd" && kind != "sd") continue;
    BlockDevice device;
    device.name = name;
    const std::string base = "/sys/block/" + name + "/";
    const std::string path = resolved(base + "device");
    device.pci_address = pci_address_in(path);
    device.scsi = scsi_address_in(path);
    device.serial = kind == "sd" ? scsi_serial(base + "device") : read_text(base + "serial");
    if (device.serial.empty()) device.serial = name;
    device.size_bytes = strtoull(read_text(base + "size").c_str(), nullptr, 10) * kSysfsSectorBytes;
    device.diskseq = read_text(base + "diskseq");
    device.read_only = read_text(base + "ro") == "1";
    devices.push_back(device);
  }
  return devices;
}

bool still_there(const BlockDevice& device) {
  return read_text("/sys/block/" + device.name + "/diskseq") == device.diskseq;
}

bool is_coming_up(const BlockDevice& device) {
  const int fd = open(("/dev/" + device.name).c_str(), O_RDONLY | O_CLOEXEC);
  const int why = fd < 0 ? errno : 0;
  if (fd >= 0) close(fd);
  return why == ENOENT || why == ENXIO || why == ENODEV;
}

std::vector<NetInterface> list_net_interfaces() {
  std::vector<NetInterface> interfaces;
  for (const std::string& name : list_folder("/sys/class/net")) {
    const std::string base = "/sys/class/net/" + name + "/";
    NetInterface interface;
    interface.pci_address = pci_address_in(resolved(base + "device"));
    if (interface.pci_address.empty()) continue;  // the loopback
    interface.name = name;
    interface.mac = read_text(base + "address");
    interface.driver = link_name(base + "device/driver");
    interface.up = (hex_in(base + "flags") & kInterfaceUp) != 0;
    interfaces.push_back(interface);
  }
  return interfaces;
}

std::vector<SerialPort> list_serial_ports() {
  std::vector<SerialPort> ports;
  for (const std::string& node : list_folder("/sys/class/virtio-ports")) {
    const std::string base = "/sys/class/virtio-ports/" + node;
    ports.push_back({node, read_text(base + "/name"), pci_address_in(resolved(base))});
  }
  return ports;
}

std::vector<std::string> list_rngs() {
  std::vector<std::string> rngs;
  const std::string names = read_text("/sys/class/misc/hw_random/rng_available") + " ";
  std::size_t start = 0;
  for (std::size_t end; (end = names.find(' ', start)) != std::string::npos; start = end + 1) {
    const std::string name = names.substr(start, end - start);
    if (name.compare(0, 10, "virtio_rng") == 0) rngs.push_back(name);
  }
  return rngs;
}

MemoryState read_memory() {
  static const std::uint64_t block_bytes =
      strtoull(read_text("/sys/devices/system/memory/block_size_bytes").c_str(), nullptr, 16);
  static std::set<std::string> at_boot;
  static const bool remembered = [] {
    for (const std::string& name : list_folder("/sys/devices/system/memory")) at_boot.insert(name);
    return true;
  }();
  static_cast<void>(remembered);
  MemoryState memory;
  for (const std::string& name : list_folder("/sys/devices/system/memory")) {
    if (name.compare(0, 6, "memory") != 0) continue;
    if (read_text("/sys/devices/system/memory/" + name + "/state") == "online") {
      memory.online_bytes += block_bytes;
      if (at_boot.count(name) == 0) memory.hotplugged_bytes += block_bytes;
    } else {
      ++memory.offline_blocks;
    }
  }
  return memory;
}

std::uint64_t online_cpus() {
  const std::string text = read_text("/sys/devices/system/cpu/online");
  std::uint64_t count = 0;
  const char* at = text.c_str();
  while (*at >= '0' && *at <= '9') {
    char* end = nullptr;
    const unsigned long first = strtoul(at, &end, 10);
    const unsigned long last = *end == '-' ? strtoul(end + 1, &end, 10) : first;
    count += last - first + 1;
    at = *end == ',' ? end + 1 : end;
  }
  return count;
}

}  // namespace migsoak::agent
