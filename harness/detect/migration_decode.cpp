#include "detect/migration_decode.h"

#include <fmt/format.h>

#include <regex>

namespace migsoak::detect {

namespace {

constexpr std::size_t kLineBytesMax = 600;  // std::regex recurses per character

unsigned long hex(const std::string& digits) {
  return std::stoul(digits.substr(0, 15), nullptr, 16);
}

std::string field_name(unsigned long offset) {
  if (offset < 0x02) return "vendor id";
  if (offset < 0x04) return "device id";
  if (offset < 0x06) return "command";
  if (offset < 0x08) return "status";
  if (offset == 0x08) return "revision";
  if (offset < 0x0c) return "class code";
  if (offset >= 0x10 && offset < 0x28) return fmt::format("BAR{}", (offset - 0x10) / 4);
  if (offset >= 0x2c && offset < 0x30) return "subsystem id";
  if (offset == 0x34) return "capability pointer";
  if (offset >= 0x3c && offset < 0x40) return "interrupt line and pin";
  return offset < 0x40 ? "header" : offset < 0x100 ? "capability" : "extended capability";
}

// QEMU 7.2 hw/pci/pci.c get_pci_config_device(): fails on (read ^ device) & cmask & ~wmask & ~w1cmask.
std::optional<DecodedError> config_space(const std::string& line) {
  static const std::regex kPattern(
      "Bad config data: i=0x([0-9a-f]+) read: ([0-9a-f]+) device: ([0-9a-f]+) cmask: ([0-9a-f]+) wmask: ([0-9a-f]+) "
      "w1cmask:\\s*([0-9a-f]+)");
  std::smatch match;
  if (!std::regex_search(line, match, kPattern)) return std::nullopt;
  const unsigned long offset = hex(match[1]), read = hex(match[2]), device = hex(match[3]), cmask = hex(match[4]),
                      wmask = hex(match[5]), w1cmask = hex(match[6]);
  const unsigned long refused = (read ^ device) & cmask & ~wmask & ~w1cmask & 0xff;
  std::string bits;
  for (int bit = 0; bit < 8; ++bit) {
    if ((refused >> bit & 1) != 0) bits += fmt::format("{}{}", bits.empty() ? "" : ", ", bit + 8 * (offset % 4));
  }
  DecodedError decoded;
  decoded.kind = "config-space";
  const std::string field = field_name(offset);
  decoded.identity = fmt::format("{} byte {}", field, offset);
  decoded.words = fmt::format(
      "PCI config space, {} (byte 0x{:02x}): the source holds 0x{:02x}, the destination 0x{:02x}; "
      "bit {} is not writable there",
      field, offset, read, device, bits.empty() ? "?" : bits);
  // The lowest writable bit of a BAR is its size; the higher bytes of a register say nothing of it.
  if (offset >= 0x10 && offset < 0x28 && offset % 4 == 0 && wmask != 0) {
    const unsigned long size = wmask & ~(wmask - 1);
    decoded.words += fmt::format(" (its {} is 0x{:x} bytes; the source's must be smaller)", field, size);
    decoded.fields["destination_bar_bytes"] = size;
  }
  decoded.fields["offset"] = offset;
  decoded.fields["field"] = field;
  decoded.fields["source"] = read;
  decoded.fields["destination"] = device;
  decoded.fields["refused_bits"] = refused;
  return decoded;
}

std::optional<DecodedError> features(const std::string& line) {
  static const std::regex kPattern("Features 0x([0-9a-f]+) unsupported\\. Allowed features: 0x([0-9a-f]+)");
  std::smatch match;
  if (!std::regex_search(line, match, kPattern)) return std::nullopt;
  const unsigned long has = std::stoul(match[1].str().substr(0, 16), nullptr, 16);
  const unsigned long allowed = std::stoul(match[2].str().substr(0, 16), nullptr, 16);
  std::string bits;
  for (int bit = 0; bit < 64; ++bit) {
    if (((has & ~allowed) >> bit & 1) != 0) bits += fmt::format("{}{}", bits.empty() ? "" : ", ", bit);
  }
  DecodedError decoded;
  decoded.kind = "virtio-features";
  decoded.identity = "virtio features " + bits;
  decoded.words = fmt::format(
      "virtio features: the guest negotiated bit {} on the source, which the destination does not "
      "offer",
      bits.empty() ? "?" : bits);
  decoded.fields = {{"source", match[1].str()}, {"allowed", match[2].str()}, {"missing_bits", bits}};
  return decoded;
}

std::optional<DecodedError> virtqueue_size(const std::string& line) {
  static const std::regex kPattern("VQ (\\d{1,6}) vring\\.num (\\d{1,9}) exceeds allocated max (\\d{1,9})");
  std::smatch match;
  if (!std::regex_search(line, match, kPattern)) return std::nullopt;
  DecodedError decoded;
  decoded.kind = "virtqueue-size";
  decoded.identity = "virtqueue size";
  decoded.words = fmt::format(
      "virtqueue {}: the guest set it up with {} entries, the destination allows {} (property "
      "queue-size)",
      match[1].str(), match[2].str(), match[3].str());
  decoded.fields = {{"queue", match[1].str()}, {"source", match[2].str()}, {"destination", match[3].str()}};
  return decoded;
}

}  // namespace

std::string device_in_error(const std::string& line) {
  static const std::regex kPattern("of device '([^']{1,200})'");
  std::smatch match;
  const std::string bounded = line.substr(0, kLineBytesMax);
  return std::regex_search(bounded, match, kPattern) ? match[1].str() : "";
}

std::optional<DecodedError> decode_migration_error(const std::string& line) {
  const std::string bounded = line.substr(0, kLineBytesMax);
  for (const auto decode : {&config_space, &features, &virtqueue_size}) {
    if (auto decoded = decode(bounded)) return decoded;
  }
  static const std::pair<const char*, const char*> kPlain[] = {
      {"error while loading state", "vmstate"},    {"Unknown savevm section", "vmstate"},
      {"Missing section footer", "vmstate"},       {"Connection refused", "connection"},
      {"Connection reset", "connection"},          {"Broken pipe", "connection"},
      {"Unable to write to socket", "connection"},
  };
  for (const auto& [text, kind] : kPlain) {
    if (bounded.find(text) != std::string::npos) return DecodedError{kind, "", "", base::Json::object()};
  }
  return std::nullopt;
}

}  // namespace migsoak::detect
