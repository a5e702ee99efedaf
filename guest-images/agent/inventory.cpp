#include "inventory.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <initializer_list>

#include "clock.h"
#include "devices.h"
#include "sysfs.h"
#include "wire.h"

namespace migsoak::agent {

namespace {

// Rows instead of objects: the answer goes over a serial port.
std::string row(std::initializer_list<std::string> fields) {
  JsonArray array;
  for (const std::string& field : fields) array.raw(json_string(field));
  return array.str();
}

std::string digest_of(std::string_view bytes) {
  char digits[12];
  snprintf(digits, sizeof digits, "%08x", crc32(bytes));
  return digits;
}

void add_devices(JsonObject& json, const std::string& what) {
  if (listed(what, "pci")) {
    JsonArray rows;
    for (const PciFunction& it : list_pci_functions()) {
      rows.raw(row({it.address, it.id, it.device_class, it.driver, it.child_driver, it.running ? "running" : ""}));
    }
    json.raw("pci", rows.str());
  }
  if (listed(what, "block")) {
    JsonArray rows;
    for (const BlockDevice& it : list_block_devices()) {
      rows.raw(row({it.name, it.serial, it.pci_address, it.scsi, std::to_string(it.size_bytes)}));
    }
    json.raw("block", rows.str());
  }
  if (listed(what, "net")) {
    JsonArray rows;
    for (const NetInterface& it : list_net_interfaces()) {
      rows.raw(row({it.name, it.mac, it.pci_address, it.driver, it.up ? "up" : ""}));
    }
    json.raw("net", rows.str());
  }
  if (listed(what, "port")) {
    JsonArray rows;
    for (const SerialPort& it : list_serial_ports()) rows.raw(row({it.node, it.name, it.pci_address}));
    json.raw("port", rows.str());
  }
}

std::string read_config(const std::string& address, std::size_t bytes_max) {
  const int fd = open(("/sys/bus/pci/devices/" + address + "/config").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  char bytes[4096];
  const ssize_t got = read(fd, bytes, std::min(sizeof bytes, bytes_max));
  close(fd);
  return std::string(bytes, got > 0 ? static_cast<std::size_t>(got) : 0);
}

std::string hex_without_trailing_zeros(const std::string& bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string digits;
  const std::size_t last = bytes.find_last_not_of('\0');
  for (std::size_t i = 0; last != std::string::npos && i <= last; ++i) {
    digits += kDigits[static_cast<unsigned char>(bytes[i]) >> 4];
    digits += kDigits[static_cast<unsigned char>(bytes[i]) & 15];
  }
  return digits;
}

}  // namespace

std::string inventory_json(const Arguments& arguments) {
  const std::string what = text_argument(arguments, "what");
  const std::int64_t start_ns = monotonic_ns();
  JsonObject json;
  json.boolean("ok", true);
  add_devices(json, what);
  if (listed(what, "rng")) json.number("rng", list_rngs().size());
  if (listed(what, "memory")) {
    const MemoryState memory = read_memory();
    json.number("memory_online_bytes", memory.online_bytes)
        .number("memory_hotplugged_bytes", memory.hotplugged_bytes)
        .number("memory_offline_blocks", memory.offline_blocks);
  }
  if (listed(what, "cpu")) json.number("cpus_online", online_cpus());
  const std::string digest = digest_of(json.str());
  if (digest == text_argument(arguments, "since")) json = JsonObject().boolean("ok", true).boolean("same", true);
  json.text("digest", digest).milliseconds("guest_ms", monotonic_ns() - start_ns);
  return json.str();
}

std::string pci_config_json(const Arguments& arguments) {
  const std::string addresses = text_argument(arguments, "addresses");
  const std::size_t bytes_max = number_argument(arguments, "bytes_max", 4096);
  const bool digest = number_argument(arguments, "digest", 0) != 0;
  const std::int64_t start_ns = monotonic_ns();
  JsonObject functions;
  for (const std::string& address : list_folder("/sys/bus/pci/devices")) {
    if (!listed(addresses, address)) continue;
    const std::string bytes = read_config(address, bytes_max);
    if (bytes.empty()) continue;
    if (digest) {
      functions.text(address, digest_of(bytes));
    } else {
      functions.raw(
          address,
          JsonObject().number("size_bytes", bytes.size()).text("hex", hex_without_trailing_zeros(bytes)).str());
    }
  }
  return JsonObject()
      .boolean("ok", true)
      .raw(digest ? "digests" : "functions", functions.str())
      .milliseconds("guest_ms", monotonic_ns() - start_ns)
      .str();
}

}  // namespace migsoak::agent
