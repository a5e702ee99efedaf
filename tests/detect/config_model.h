// Documents of a synthetic soak: disks on both sides as the config reader would record them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "pci/config_image.h"
#include "pci/real_images.h"
#include "record/config_space.h"
#include "soak_model.h"

namespace migsoak::detect::testing {

namespace kind = record::document_kind;

inline constexpr std::size_t kBar0 = 0x10, kMsixSize = 0x9a;

// A virtio-blk of pc: at rest as its destination has it, or as a guest runs it.
struct Disk {
  std::string id = "vd0", path = "0000:00:04.0";
  std::uint64_t bar0_bytes = 0x80, bar0_at = 0x1000;
  std::function<void(pci::ConfigImage&)> change;
  base::Json props = base::Json::object();
  std::string device_config;
  int queue_size = 256, queue_default = 256, queue_property = 256;
};

inline record::ConfigFunction function_of(const Disk& disk, bool guest) {
  pci::ConfigImage image = pci::image_of(pci::kBlkOnPc, pci::kConventionalBytes);
  if (guest) {
    image.set_u32(kBar0, static_cast<std::uint32_t>(disk.bar0_at) | 1);
  } else {  // nobody has written to it yet
    image.set_u16(0x04, 0);
    for (const std::size_t bar : {kBar0, std::size_t{0x14}, std::size_t{0x20}})
      image.set_u32(bar, bar == kBar0 ? 1 : bar == 0x20 ? 0xc : 0);
    image.set_u8(0x3c, 0);
    image.set_u8(kMsixSize + 1, 0);
  }
  if (disk.change) disk.change(image);
  record::ConfigFunction function;
  function.path = disk.path;
  function.address = disk.path;
  function.id = disk.id;
  function.device = "1af4:1001";
  function.bars = {{0, "io", guest ? disk.bar0_at : 0, disk.bar0_bytes},
                   {1, "mem", guest ? 0xfebff000u : 0u, 0x1000},
                   {4, "mem64", guest ? 0xfebf8000u : 0u, 0x4000}};
  function.size = pci::kConventionalBytes;
  function.bytes = pci::to_hex(image);
  function.device_config = disk.device_config;
  return function;
}

inline void put(record::Observation& o, const std::string& point, const std::vector<Disk>& disks) {
  record::ConfigSpace space;
  space.method = "ports";
  record::Virtqueues queues;
  base::Json devices = base::Json::array();
  for (const Disk& disk : disks) {
    space.functions.push_back(function_of(disk, point == "source"));
    queues.devices.push_back(
        {disk.id, "virtio-blk", "queue-size", disk.queue_property, {{0, disk.queue_size, disk.queue_default}}});
    devices.push_back({{"id", disk.id},
                       {"type", "virtio-blk"},
                       {"driver", "virtio-blk-pci"},
                       {"bus", "pci.0"},
                       {"address", "0x" + disk.path.substr(8, 2)},
                       {"props", disk.props}});
  }
  const std::string process = "qemu:" + (point == "source" ? o.plan.source_side : o.plan.destination_side);
  o.documents.push_back({kind::kConfigSpace, process, 1, point, record::to_json(space)});
  o.documents.push_back({kind::kVirtqueues, process, 1, point, record::to_json(queues)});
  o.documents.push_back({kind::kDeviceSet, process, 1, point, {{"devices", devices}}});
}

inline record::Manifest two_builds(const std::string& a = "7.2.22", const std::string& b = "11.1.2") {
  record::Manifest m = manifest();
  m.sides = {{"a", "qemu-a", a}, {"b", "qemu-b", b}};
  return m;
}

// Both sides alike but for what `differ` does to b's disks.
inline Change sides(const std::vector<Disk>& disks, std::function<void(Disk&)> differ = nullptr) {
  return [=](record::Observation& o, Soak&) {
    const auto on = [&](const std::string& side) {
      std::vector<Disk> those = disks;
      if (side == "b" && differ) {
        for (Disk& disk : those) differ(disk);
      }
      return those;
    };
    put(o, "source", on(o.plan.source_side));
    put(o, "destination", on(o.plan.destination_side));
  };
}

}  // namespace migsoak::detect::testing
