// DeviceType: how one type of device becomes backends and a frontend, for the command line as for a plug over QMP. One
// file per type, one line in devices.def.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "hypervisor/machine_spec.h"
#include "target/endpoint.h"

namespace migsoak::hypervisor {

// In QEMU's own order and spelling, nested keys dotted ("cache.direct").
using Properties = std::vector<std::pair<std::string, base::Json>>;

struct Backend {
  std::string option;  // "blockdev" "chardev" "netdev" "object": the option without its dash
  std::string id;      // id, or node-name
  Properties properties;
};
struct DeviceParts {
  std::vector<Backend> backends;  // in the order in which they are made; they go in the reverse order
  Properties frontend;            // of -device: "driver" first
};

// What a device is plugged into.
enum class Attachment { pci, scsi, serial_port, memory, cpu };

struct DeviceType {
  std::string name;  // in scenarios
  Attachment attachment;
  bool disk;  // the guest finds a data disk
  // vhost-user types: what their target serves; others have none.
  std::optional<target::EndpointType> endpoint;
  base::Result<DeviceParts> (*parts)(const DeviceSpec& device);
};

const std::vector<DeviceType>& device_types();
// Null when there is none of that name.
const DeviceType* find_device_type(const std::string& name);

// False for an unknown type.
bool is_attached_to(Attachment attachment, const std::string& type);
bool is_disk_type(const std::string& type);
// What it needs of a target; empty for types that are not vhost-user.
std::optional<target::EndpointType> endpoint_of(const std::string& type);
// A file stands behind it, at QEMU's or at the target's.
bool needs_image(const std::string& type);
// The chardev of a vhost-user device, which `query-chardev` calls its label.
std::string chardev_of(const std::string& device_id);

// Checks id, type and properties, and asks the type. Kind bad_input.
base::Result<DeviceParts> device_parts(const DeviceSpec& device);

// "-device" and its like with their values, appended.
base::Result<void> append_arguments(const DeviceParts& parts, std::vector<std::string>& argv);

// QEMU's option syntax doubles commas inside values (qemu-options, "QemuOpts").
std::string escape_commas(std::string_view value);

// Appends the scenario's properties. Kind bad_input for values that are no QEMU property (null, list, object, fraction)
// and for names in `reserved` or already in `into`, which the harness sets itself.
base::Result<void> append_properties(const DeviceSpec& device, const std::vector<std::string>& reserved,
                                     Properties& into);

// driver, id, bus (when it is not the root bus), addr.
Properties pci_frontend(const std::string& driver, const DeviceSpec& device);
// Of a PCI Express port. `number`: what the guest shows as the physical slot; unique in the machine.
Properties root_port_frontend(const DeviceSpec& device, std::int64_t number);
// The chardev, called `id`, over which a vhost-user device meets its target.
Backend vhost_user_chardev(const std::string& id, const DeviceSpec& device);
// An address as a number; 0 when it is none.
std::int64_t number_of(const std::string& address);
// Where a DIMM lies in the guest's memory, by its slot.
std::uint64_t dimm_address(const DeviceSpec& device);
// A MAC address that depends on the id alone, in QEMU's range 52:54:00.
std::string mac_of(const DeviceSpec& device);

// A raw file as a block node named "<id>-raw", for types whose disk QEMU serves itself.
base::Result<void> append_disk_backend(const DeviceSpec& device, DeviceParts& parts);

// The name in scenarios, for those who mean one type: type_name_vhost_user_blk(). devices.def alone spells it.
#define DEVICE(name, function, attachment, disk, endpoint) \
  inline const char* type_name_##function() {              \
    return name;                                           \
  }
#include "hypervisor/devices.def"
#undef DEVICE

#define DEVICE(name, function, attachment, disk, endpoint) \
  base::Result<DeviceParts> parts_of_##function(const DeviceSpec& device);
#include "hypervisor/devices.def"
#undef DEVICE

}  // namespace migsoak::hypervisor
