#include "hypervisor/device_type.h"

namespace migsoak::hypervisor {

const std::vector<DeviceType>& device_types() {
  static const std::vector<DeviceType> types = {
#define DEVICE(name, function) {name, append_##function},
#include "hypervisor/devices.def"
#undef DEVICE
  };
  return types;
}

std::vector<std::string> device_type_names() {
  std::vector<std::string> names;
  for (const DeviceType& type : device_types()) names.push_back(type.name);
  return names;
}

}  // namespace migsoak::hypervisor
