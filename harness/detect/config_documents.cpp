#include "detect/config_documents.h"

#include <fmt/format.h>

#include <set>

#include "base/text.h"
#include "pci/fields.h"

namespace migsoak::detect {

namespace {

constexpr std::size_t kPropertyShownBytes = 60;
constexpr std::size_t kPropertiesListedMax = 8;

std::string value_words(const base::Json& props, const std::string& name) {
  const auto found = props.find(name);
  if (found == props.end()) return "not set";
  if (found->is_string()) return base::printable(found->get<std::string>(), kPropertyShownBytes);
  return base::printable(base::dump_json(*found), kPropertyShownBytes);
}

// "0000:00:05.0" for a device at "0x5" of a root bus; empty where the bus is not one.
std::string path_of_entry(const base::Json& entry) {
  const std::string bus = base::json_get<std::string>(entry, "bus", "");
  std::string address = base::json_get<std::string>(entry, "address", "");
  if (bus != "pci.0" && bus != "pcie.0" && !bus.empty()) return "";
  if (address.rfind("0000:", 0) == 0) return address;
  char* end = nullptr;
  const unsigned long slot = std::strtoul(address.c_str(), &end, 16);
  if (address.empty() || end == address.c_str() || slot > 31) return "";
  return fmt::format("0000:00:{:02x}.{}", slot, *end == '.' ? end + 1 : "0");
}

}  // namespace

std::string DeviceName::words() const {
  if (id.empty()) return address.empty() ? type : fmt::format("{} ({})", type, address);
  return address.empty() ? fmt::format("{} ({})", id, type) : fmt::format("{} ({}, {})", id, type, address);
}

const std::shared_ptr<const base::Json>& SideDocuments::no_devices() {
  static const auto kNone = std::make_shared<const base::Json>(base::Json::array());
  return kNone;
}

const base::Json& SideDocuments::device(const std::string& id) const {
  static const base::Json kNone;
  if (id.empty()) return kNone;
  for (const base::Json& entry : *device_set) {
    if (!entry.is_object()) continue;
    const auto name = entry.find("id");
    if (name != entry.end() && name->is_string() && name->get_ref<const std::string&>() == id) return entry;
  }
  return kNone;
}

DeviceName SideDocuments::name_of(const std::string& path, const std::string& section) const {
  DeviceName name;
  name.address = path;
  name.type = section;
  const record::ConfigFunction* function = space ? space->find(path) : nullptr;
  if (function != nullptr) {
    name.id = function->id;
    if (!function->address.empty()) name.address = function->address;
    if (name.type.empty()) name.type = function->device;
  } else {
    for (const base::Json& entry : *device_set) {
      if (path_of_entry(entry) == path) name.id = base::json_text(entry, "id");
    }
  }
  const base::Json& entry = device(name.id);
  const std::string type = base::json_text(entry, "type");
  if (!type.empty()) name.type = type;
  if (name.type.empty()) name.type = "device";
  return name;
}

namespace {

std::size_t bytes_of(const base::Json& json) {
  constexpr std::size_t kOfOne = 64;
  std::size_t sum = kOfOne + (json.is_string() ? json.get_ref<const std::string&>().size() : 0);
  if (json.is_structured()) {
    for (const base::Json& item : json) sum += bytes_of(item);
  }
  return sum;
}

}  // namespace

DocumentCache::Made DocumentCache::made_of(const record::Document& document) {
  const std::pair key(document.kind, document.content_id);
  if (document.content_id != 0) {
    if (const auto known = made_.find(key); known != made_.end()) return known->second;
  }
  Made made;
  if (document.kind == record::document_kind::kConfigSpace) {
    if (auto space = record::config_space_from_json(document.content)) {
      made.space = std::make_shared<const record::ConfigSpace>(std::move(*space));
    }
  } else if (document.kind == record::document_kind::kVirtqueues) {
    if (auto queues = record::virtqueues_from_json(document.content)) {
      made.virtqueues = std::make_shared<const record::Virtqueues>(std::move(*queues));
    }
  } else if (document.kind == record::document_kind::kDeviceSet) {
    base::Json devices = base::json_get(document.content, "devices", base::Json::array());
    if (devices.is_array()) made.device_set = std::make_shared<const base::Json>(std::move(devices));
  }
  if (document.content_id == 0) return made;
  const std::size_t bytes = bytes_of(document.content);
  if (bytes_ + bytes > kBytesMax) {
    made_.clear();
    bytes_ = 0;
  }
  if (bytes <= kBytesMax) {
    made_.emplace(key, made);
    bytes_ += bytes;
  }
  return made;
}

SideDocuments DocumentCache::at(const record::Observation& observation, const std::string& point) {
  SideDocuments side;
  side.side = point == "source" ? observation.plan.source_side : observation.plan.destination_side;
  for (const record::Document& document : observation.documents) {
    if (document.point != point) continue;
    const Made made = made_of(document);
    if (made.space) side.space = made.space;
    if (made.virtqueues) side.virtqueues = made.virtqueues;
    if (made.device_set) side.device_set = made.device_set;
  }
  return side;
}

std::vector<std::string> differing_properties(const SideDocuments& source, const SideDocuments& destination,
                                              const std::string& id) {
  const base::Json &before = source.device(id), &after = destination.device(id);
  std::vector<std::string> words;
  if (!before.is_object() || !after.is_object()) return words;
  const base::Json props_before = base::json_get(before, "props", base::Json::object());
  const base::Json props_after = base::json_get(after, "props", base::Json::object());
  if (!props_before.is_object() || !props_after.is_object()) return words;
  std::set<std::string> names;
  for (const auto& [name, value] : props_before.items()) names.insert(name);
  for (const auto& [name, value] : props_after.items()) names.insert(name);
  for (const std::string& name : names) {
    const std::string from = value_words(props_before, name), to = value_words(props_after, name);
    if (from == to || words.size() >= kPropertiesListedMax) continue;
    words.push_back(fmt::format("{}: source {}, destination {}", base::printable(name, kPropertyShownBytes), from, to));
  }
  return words;
}

std::optional<pci::ConfigImage> image_of(const record::ConfigFunction& function) {
  if (function.size <= 0) return std::nullopt;
  auto image = pci::from_hex(function.bytes, static_cast<std::size_t>(function.size));
  if (!image) return std::nullopt;
  return std::move(*image);
}

std::vector<pci::Bar> bars_of(const record::ConfigFunction& function) {
  std::vector<pci::Bar> bars;
  for (const record::ConfigBar& known : function.bars) {
    if (known.index < 0 || known.index > pci::kRomBar) continue;
    pci::Bar bar;
    bar.index = known.index;
    bar.kind = known.index == pci::kRomBar ? pci::BarKind::rom
               : known.kind == "io"        ? pci::BarKind::io
               : known.kind == "mem64"     ? pci::BarKind::mem64
                                           : pci::BarKind::mem32;
    bar.address = known.address;
    bar.size = known.size;
    bars.push_back(bar);
  }
  return bars;
}

pci::ConfigImage writable_of(const record::ConfigFunction& function, const pci::ConfigImage& image) {
  if (!function.writable.empty()) {
    if (auto probed = pci::from_hex(function.writable, image.size())) return std::move(*probed);
  }
  return pci::specified_writable(image, bars_of(function));
}

std::string side_build(const std::vector<record::SideInfo>& sides, const std::string& side) {
  for (const record::SideInfo& info : sides) {
    if (info.name == side) return info.qemu_version.empty() ? info.qemu : info.qemu_version;
  }
  return "";
}

void put_pair(base::Json& evidence, const record::Plan& plan, const std::vector<record::SideInfo>& sides) {
  evidence["from"] = plan.source_side;
  evidence["to"] = plan.destination_side;
  evidence["from_qemu"] = side_build(sides, plan.source_side);
  evidence["to_qemu"] = side_build(sides, plan.destination_side);
}

std::string unfolded(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c >= '0' && c <= '9') {
      out += '#';
      out += static_cast<char>('A' + (c - '0'));
    } else {
      out += c == '/' ? '|' : c;  // a path would be folded as well
    }
  }
  return out;
}

}  // namespace migsoak::detect
