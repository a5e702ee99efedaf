// Names for the bytes of configuration space: header, capabilities, extended capabilities, virtio's own.
// Facts from PCI Local Bus 3.0 (6.1, appendix H), PCI Express Base 5.0 (7.5-7.9), virtio 1.2 (4.1.4) and Linux's
// include/uapi/linux/pci_regs.h.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pci/config_image.h"

namespace migsoak::pci {

struct Capability {
  std::uint16_t id = 0;
  bool extended = false;    // of the list at 0x100
  std::size_t offset = 0;   // of its header
  std::size_t length = 0;   // bytes, as far as its kind and its own fields tell; at least the header
  int virtio_cfg_type = 0;  // 1..9 of virtio_pci_cap.cfg_type; 0: no virtio capability
  std::string name;         // "MSI-X", "PCIe", "virtio notify cfg", "AER"; "capability 0x21" when unknown
};

// In list order. A list that loops, points outside or into the header ends there; `broken` (may be null) says so.
std::vector<Capability> capabilities(const ConfigImage& image, std::string* broken = nullptr);

struct Field {
  std::string name;  // "BAR0", "command", "MSI-X table size", "PCIe link status", "virtio notify cfg length"
  std::size_t offset = 0;
  std::size_t length = 1;  // bytes
};
// The field that holds the byte. Which capability lies where depends on the image; bytes that nothing claims are
// called "byte 0xNN" ("device-specific byte 0xNN" above the header).
Field field_at(const ConfigImage& image, std::size_t offset);

struct DecodedField {
  Field field;
  std::uint64_t value = 0;  // little-endian; fields longer than 8 bytes: their first 8
};
// Every named field of header and capabilities, by offset; for people and for compares by name instead of by byte.
std::vector<DecodedField> decode(const ConfigImage& image);

// The bits that software may write, by the specifications alone: nothing is probed. BARs by the `sizes` given (index,
// kind and size of each are used). Device-specific bytes outside of every capability count as writable, as they do in
// QEMU unless a device says otherwise (hw/pci/pci.c, pci_init_wmask()). A build may make fewer bits writable, so this
// is for telling what the guest owns (and may differ) from what the device is; it does not predict a load.
ConfigImage specified_writable(const ConfigImage& image, const std::vector<Bar>& sizes);

// The name of a feature bit for that virtio device type ("blk", "net", ...; empty: only the common ones):
// "VIRTIO_BLK_F_DISCARD"; "bit 42" when unknown. virtio 1.2 sections 5 and 6.
std::string virtio_feature_name(int bit, std::string_view device_type = "");
// The set bits by name, lowest first.
std::vector<std::string> virtio_feature_names(std::uint64_t bits, std::string_view device_type = "");
// "blk" for "virtio-blk", "vhost-user-blk-pci", "0000:00:04.0/virtio-blk"; empty when it is no virtio device.
std::string virtio_type_of(std::string_view driver);

}  // namespace migsoak::pci
