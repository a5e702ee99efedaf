#include "detect/migration_decode.h"

#include <fmt/format.h>

#include <regex>

#include "base/text.h"
#include "pci/load_rule.h"

namespace migsoak::detect {

namespace {

constexpr std::size_t kLineBytesMax = 600;  // std::regex recurses per character

// One line alone, so without images: what the masks tell.
std::optional<DecodedError> config_space(const std::string& line) {
  const auto error = pci::parse_bad_config_data(line);
  if (!error) return std::nullopt;
  const unsigned offset = static_cast<unsigned>(error->offset);
  const unsigned refused = error->refused();
  std::string bits;
  for (unsigned bit = 0; bit < 8; ++bit) {
    if ((refused >> bit & 1) != 0) bits += fmt::format("{}{}", bits.empty() ? "" : ", ", bit + 8 * (offset % 4));
  }
  DecodedError decoded;
  decoded.kind = "config-space";
  const pci::ConfigImage plain(offset < pci::kConventionalBytes ? pci::kConventionalBytes : pci::kExtendedBytes);
  const std::string field = offset < 0x40    ? pci::field_at(plain, offset).name
                            : offset < 0x100 ? "capability"
                                             : "extended capability";
  decoded.identity = fmt::format("{} byte {}", field, offset);
  decoded.words = fmt::format(
      "PCI config space, {} (byte 0x{:02x}): the source holds 0x{:02x}, the destination 0x{:02x}; "
      "bit {} is not writable there",
      field, offset, error->read, error->device, bits.empty() ? "?" : bits);
  // The lowest writable bit of a BAR is its size; the higher bytes of a register say nothing of it.
  if (offset >= 0x10 && offset < 0x28 && offset % 4 == 0 && error->wmask != 0) {
    const unsigned size = error->wmask & ~(error->wmask - 1u);
    decoded.words += fmt::format(" (its {} is 0x{:x} bytes; the source's must be smaller)", field, size);
    decoded.fields["destination_bar_bytes"] = size;
  }
  decoded.fields["offset"] = offset;
  decoded.fields["field"] = field;
  decoded.fields["source"] = error->read;
  decoded.fields["destination"] = error->device;
  decoded.fields["refused_bits"] = refused;
  return decoded;
}

std::optional<DecodedError> features(const std::string& line) {
  const auto error = pci::parse_unsupported_features(line);
  if (!error) return std::nullopt;
  // The device stands in the same text only in newer builds' error descriptions.
  const std::string device = device_in_error(line);
  const std::string type = device.empty() ? "" : pci::virtio_type_of(device);
  std::string bits, names;
  for (int bit = 0; bit < 64; ++bit) {
    if ((error->missing() >> bit & 1) == 0) continue;
    const std::string name = pci::virtio_feature_name(bit, type);
    const bool known = name.rfind("VIRTIO_", 0) == 0 || name.rfind("VHOST_", 0) == 0;
    bits += fmt::format("{}{}", bits.empty() ? "" : ", ", bit);
    names += fmt::format("{}bit {}{}", names.empty() ? "" : ", ", bit, known ? " (" + name + ")" : "");
  }
  DecodedError decoded;
  decoded.kind = "virtio-features";
  decoded.identity = "virtio features " + bits;
  decoded.words =
      names.empty()
          // QEMU 11.1 prints what is left of the guest's features after it took away what it refuses
          // (hw/virtio/virtio.c, virtio_set_features_nocheck). Seen with VIRTIO_BLK_F_SIZE_MAX of vhost-user-blk.
          ? fmt::format(
                "virtio features: the destination refuses a bit that it does not name; of the guest's features it "
                "accepts {:#x}, it offers {:#x}",
                error->offered_by_stream, error->allowed)
          : fmt::format("virtio features: the guest negotiated {} on the source, which the destination does not offer",
                        names);
  decoded.fields = {{"source", fmt::format("{:x}", error->offered_by_stream)},
                    {"allowed", fmt::format("{:x}", error->allowed)},
                    {"missing_bits", bits}};
  return decoded;
}

std::optional<DecodedError> virtqueue_size(const std::string& line) {
  const auto error = pci::parse_ring_too_large(line);
  if (!error) return std::nullopt;
  DecodedError decoded;
  decoded.kind = "virtqueue-size";
  decoded.identity = "virtqueue size";
  decoded.words = pci::explain(*error);
  decoded.fields = {{"queue", std::to_string(error->queue)},
                    {"source", std::to_string(error->size)},
                    {"destination", std::to_string(error->size_max)}};
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
