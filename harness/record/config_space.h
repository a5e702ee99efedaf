// What Documents of the kinds config-space and virtqueues hold: a machine's PCI functions and virtqueues as read from
// outside at one point of an iteration. Plain data; what the bytes mean is pci/'s business.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"

namespace migsoak::record {

struct ConfigBar {
  int index = 0;              // 0..5; 6: the expansion ROM
  std::string kind;           // "io" | "mem" | "mem64"
  std::uint64_t address = 0;  // 0 while the guest has given it none
  std::uint64_t size = 0;     // bytes
  bool operator==(const ConfigBar&) const = default;
};

struct ConfigFunction {
  // As the guest numbers it, "0000:01:00.0"; on a destination that waits, behind a bridge: empty, as the bus has no
  // number yet.
  std::string address;
  // As QEMU names it in a stream and its errors, by slots from the root bus: "0000:00:04.0", "0000:00:02.0:00.0". Equal
  // on both sides.
  std::string path;
  std::string id;      // the device's id; empty when the harness did not ask for it
  std::string device;  // "1af4:1001", vendor and device
  std::vector<ConfigBar> bars;
  // Of the bytes: 256 or 4096, as lower-case hex with zeros at the end cut off. size 0: not read this time.
  std::int64_t size = 0;
  std::string bytes;
  // The same for the mask of writable bits, where somebody probed it; empty: unknown.
  std::string writable;
  // Of a virtio device: its device configuration (virtio 1.2, 2.5), as hex, what was not read as ff. Empty: not read.
  std::string device_config = {};
  bool operator==(const ConfigFunction&) const = default;
};

struct ConfigSpace {
  std::string method;  // how the bytes were read: "ecam", "ports"; "none" when the machine offers no way
  std::vector<ConfigFunction> functions;  // by path
  bool operator==(const ConfigSpace&) const = default;

  const ConfigFunction* find(const std::string& path) const;
};

struct Virtqueue {
  std::int64_t index = 0;
  std::int64_t size = 0;          // vring-num: what the driver set up, or the default while it has not
  std::int64_t size_default = 0;  // vring-num-default: what the device was realized with
  bool operator==(const Virtqueue&) const = default;
};
struct VirtioDevice {
  std::string id;        // of the PCI device, "vd0"; QEMU's object path when it has none
  std::string type;      // "virtio-blk"
  std::string property;  // the one that sets the size: "queue-size", "virtqueue_size"; empty: the type has none
  std::optional<std::int64_t> property_value;
  std::vector<Virtqueue> queues;  // the first few
  bool operator==(const VirtioDevice&) const = default;
};
struct Virtqueues {
  std::vector<VirtioDevice> devices;  // by id
  bool operator==(const Virtqueues&) const = default;

  const VirtioDevice* find(const std::string& id) const;
};

base::Json to_json(const ConfigSpace& space);
base::Result<ConfigSpace> config_space_from_json(const base::Json& json);
base::Json to_json(const Virtqueues& virtqueues);
base::Result<Virtqueues> virtqueues_from_json(const base::Json& json);

}  // namespace migsoak::record
