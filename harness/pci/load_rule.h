// QEMU's rule for loading configuration space, and the lines it says when the rule refuses.
// hw/pci/pci.c, get_pci_config_device(): a byte is refused when
//   (source ^ destination) & cmask & ~wmask & ~w1cmask
// is not zero, `destination` being what the waiting QEMU has made of itself, masks its own. Passing this, the source's
// bytes are copied in whole: what differs under a cleared cmask or a set wmask is taken over silently.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pci/config_image.h"
#include "pci/fields.h"

namespace migsoak::pci {

constexpr std::uint8_t refused_bits(std::uint8_t source, std::uint8_t destination, std::uint8_t cmask,
                                    std::uint8_t wmask, std::uint8_t w1cmask) {
  return static_cast<std::uint8_t>((source ^ destination) & cmask & ~wmask & ~w1cmask);
}

// The destination's masks. `checked` (cmask) and `write_one_to_clear` can't be read from outside: empty means unknown,
// and then every read-only bit counts as checked and none as write-one-to-clear.
struct LoadMasks {
  ConfigImage writable;
  ConfigImage checked;
  ConfigImage write_one_to_clear;
};

struct ByteDifference {
  Field field;
  std::size_t offset = 0;
  std::uint8_t source = 0, destination = 0;
  std::uint8_t writable = 0;  // the destination's mask; 0 when unknown
  std::uint8_t refused = 0;   // by the rule, as far as the masks are known
};
// Bytes that differ, lowest offset first, over the shorter of the two images. An empty `masks.writable` stands for
// "nothing is writable": each difference then shows all its bits in `refused`.
std::vector<ByteDifference> differences(const ConfigImage& source, const ConfigImage& destination,
                                        const LoadMasks& masks);

// "get_pci_config_device: Bad config data: i=0x10 read: c1 device: 1 cmask: ff wmask: 80 w1cmask:0"
struct BadConfigData {
  std::size_t offset = 0;
  std::uint8_t read = 0;    // what the stream brings: the source's byte
  std::uint8_t device = 0;  // the destination's own
  std::uint8_t cmask = 0, wmask = 0, w1cmask = 0;

  std::uint8_t refused() const { return refused_bits(read, device, cmask, wmask, w1cmask); }
  bool operator==(const BadConfigData&) const = default;
};
std::optional<BadConfigData> parse_bad_config_data(std::string_view line);

// "Features 0x130006e44 unsupported. Allowed features: 0x179006e44" (hw/virtio/virtio.c, virtio_load)
struct UnsupportedFeatures {
  std::uint64_t offered_by_stream = 0, allowed = 0;
  std::uint64_t missing() const { return offered_by_stream & ~allowed; }
};
std::optional<UnsupportedFeatures> parse_unsupported_features(std::string_view line);

// "VQ 0 vring.num 1024 exceeds allocated max 256" (hw/virtio/virtio.c, since QEMU 11)
struct RingTooLarge {
  std::uint32_t queue = 0, size = 0, size_max = 0;
};
std::optional<RingTooLarge> parse_ring_too_large(std::string_view line);

// A refused load, put together from the lines that QEMU says one after the other. Fields that no line gave are empty.
struct LoadError {
  std::optional<BadConfigData> config;
  std::optional<UnsupportedFeatures> features;
  std::optional<RingTooLarge> ring;
  std::vector<std::string> elements;  // innermost first: "PCIDevice:config", "virtio-blk:virtio"
  std::string path;                   // "0000:00:0b.0", "0000:00:02.0:00.0" behind a root port (QEMU's device path)
  std::string section;                // "virtio-blk"
  std::vector<std::string> lines;     // those that belong to it, printable
};
// Every refused load in the lines, in order. Lines that have nothing to do with it may stand in between.
std::vector<LoadError> parse_load_errors(const std::vector<std::string>& lines);

// What is known of one side beyond the error line; all of it optional.
struct SideView {
  const ConfigImage* image = nullptr;
  std::uint64_t bar_size = 0;  // of the BAR that the byte belongs to; 0: unknown
};
// "BAR0 I/O: source 0x40 bytes at 0x1040, destination 0x80 bytes: bit 6 is not writable there", or for another field
// "PCIe link status (byte 0x86): source 0x21, destination 0x01: bit 5 is not writable there". Without images and sizes,
// as much of it as the masks tell.
std::string explain(const BadConfigData& error, const SideView& source = {}, const SideView& destination = {});
std::string explain(const UnsupportedFeatures& error, std::string_view device_type = "");
std::string explain(const RingTooLarge& error);

}  // namespace migsoak::pci
