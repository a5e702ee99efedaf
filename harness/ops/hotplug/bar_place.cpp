// query-pci (qapi/pci.json): every function with its regions, sizes known to QEMU, addresses as the guest set them.
#include "ops/hotplug/hotplug.h"

namespace migsoak::ops {

using base::Json;
using base::Result;

namespace {

// The function of that id, behind bridges too; null when there is none.
const Json* find_function(const Json& devices, const std::string& id) {
  if (!devices.is_array()) return nullptr;
  for (const Json& device : devices) {
    if (base::json_get<std::string>(device, "qdev_id", "") == id) return &device;
    const auto bridge = device.find("pci_bridge");
    if (bridge == device.end() || !bridge->contains("devices")) continue;
    if (const Json* found = find_function((*bridge)["devices"], id); found != nullptr) return found;
  }
  return nullptr;
}

}  // namespace

Result<std::optional<BarPlace>> bar0_of(hypervisor::Machine& machine, const std::string& id, base::Deadline deadline) {
  MIGSOAK_ASSIGN(const Json buses, machine.qmp().execute("query-pci", Json::object(), deadline));
  std::optional<BarPlace> place;
  for (const Json& bus : buses.is_array() ? buses : Json::array()) {
    const auto devices = bus.find("devices");
    const Json* function = devices != bus.end() ? find_function(*devices, id) : nullptr;
    if (function == nullptr || !function->contains("regions")) continue;
    for (const Json& region : (*function)["regions"]) {
      const auto address = base::json_get<std::int64_t>(region, "address", -1);
      // -1: not placed.
      if (base::json_get<std::int64_t>(region, "bar", -1) != 0 || address < 0) continue;
      place = BarPlace{static_cast<std::uint64_t>(address), base::json_get<std::uint64_t>(region, "size", 0)};
    }
  }
  return place;
}

}  // namespace migsoak::ops
