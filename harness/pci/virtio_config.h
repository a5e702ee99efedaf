// VirtioConfig: the device configuration of a virtio device (virtio 1.2, 2.5 and section 5), which lies behind a BAR:
// its fields by name, what sets them, and whether they are the device's or come and go. Facts in virtio_config.def.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace migsoak::pci {

enum class ConfigFieldKind {
  fixed,    // what the device is
  travels,  // the source's value comes with the state
  changes,  // of itself
};

struct VirtioConfigField {
  std::string_view type;  // "net"
  std::string_view structure, field;
  std::size_t offset = 0, bytes = 0;
  bool zero_is_absent = false;
  std::string_view property;  // QEMU's; empty: no single one sets it
  ConfigFieldKind kind = ConfigFieldKind::fixed;
  std::string_view reason;  // of a kind that is not fixed

  std::string name() const;  // "virtio_net_config.mtu"
};

// By offset; none for a type whose structure is not known, or that has none. `type` as virtio_type_of() says.
std::vector<VirtioConfigField> virtio_config_fields(std::string_view type);

// Of all types.
std::vector<VirtioConfigField> virtio_config_fields();

// How the fields are read. Never wider than a field: QEMU answers all ones to a read that goes beyond the end of a
// structure, whatever the part before it would have been (hw/virtio/virtio-config-io.c).
struct VirtioConfigAccess {
  std::size_t offset = 0;
  int bytes = 0;  // 1, 2 or 4
};
std::vector<VirtioConfigAccess> virtio_config_accesses(std::string_view type);

// A structure as read; what was not read is all ones.
using VirtioConfigBytes = std::vector<std::uint8_t>;
VirtioConfigBytes virtio_config_bytes(std::string_view type, const std::vector<std::uint32_t>& answers);

// Two lower-case digits a byte; from text that is something else: empty.
std::string to_hex(const VirtioConfigBytes& bytes);
VirtioConfigBytes virtio_config_from_hex(std::string_view digits);

// "1500", "52:54:00:12:34:56"; nothing when the device has no such field.
std::optional<std::string> virtio_config_value(const VirtioConfigField& field, const VirtioConfigBytes& bytes);

// "net" for vendor and device "1af4:1000" or "1af4:1041" (virtio 1.2, 4.1.2.1 and 4.1.2.3); empty: no virtio device.
std::string virtio_type_of_device(std::uint16_t vendor, std::uint16_t device);

}  // namespace migsoak::pci
