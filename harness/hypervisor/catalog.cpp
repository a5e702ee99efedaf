#include "hypervisor/device_type.h"

namespace migsoak::hypervisor {

const std::vector<DeviceType>& device_types() {
  // The words of the last column.
  using Endpoint = std::optional<target::EndpointType>;
  [[maybe_unused]] constexpr Endpoint none = std::nullopt, block = target::EndpointType::block,
                                      net = target::EndpointType::net, fs = target::EndpointType::fs;
  static const std::vector<DeviceType> types = {
#define DEVICE(name, function, attachment, disk, endpoint) \
  {name, Attachment::attachment, disk, endpoint, parts_of_##function},
#include "hypervisor/devices.def"
#undef DEVICE
  };
  return types;
}

const DeviceType* find_device_type(const std::string& name) {
  for (const DeviceType& type : device_types()) {
    if (type.name == name) return &type;
  }
  return nullptr;
}

bool is_attached_to(Attachment attachment, const std::string& type) {
  const DeviceType* found = find_device_type(type);
  return found != nullptr && found->attachment == attachment;
}

bool is_disk_type(const std::string& type) {
  const DeviceType* found = find_device_type(type);
  return found != nullptr && found->disk;
}

std::optional<target::EndpointType> endpoint_of(const std::string& type) {
  const DeviceType* found = find_device_type(type);
  return found != nullptr ? found->endpoint : std::nullopt;
}

bool needs_image(const std::string& type) {
  return is_disk_type(type) || endpoint_of(type) == target::EndpointType::block;
}

std::string chardev_of(const std::string& device_id) {
  return device_id + "-char";
}

std::vector<std::string> device_type_names() {
  std::vector<std::string> names;
  for (const DeviceType& type : device_types()) names.push_back(type.name);
  return names;
}

}  // namespace migsoak::hypervisor
