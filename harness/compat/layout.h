// Layout: where the devices of one throwaway VM sit, on both sides alike, and the command lines that follow.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "compat/device_catalog.h"
#include "fleet/fleet.h"

namespace migsoak::compat {

enum class Chipset { pc, q35 };
enum class Placement { root, root_port, bridge };
enum class Side { from, to };

std::string_view to_string(Placement placement);
// Kind bad_input, with the names there are.
base::Result<Placement> parse_placement(std::string_view word);
// Kind bad_input when it is a machine without a PCI layout that compat knows.
base::Result<Chipset> chipset_of(std::string_view machine);

struct PlacedDevice {
  DevicePair device;
  std::size_t index = 0;  // within its VM: id d<index>, its backends n<index>
  std::uint8_t bus = 0;   // its number once prepare_access() has run
  std::uint8_t devfn = 0;
  std::uint8_t port_devfn = 0;      // of the root port it sits behind, on bus 0; 0: none
  std::string path;                 // QEMU's device path: "0000:00:05.0", "0000:00:01.3:00.0" behind a root port
  std::uint32_t io_window = 0;      // where its I/O BARs are placed, kIoWindowBytes
  std::uint32_t memory_window = 0;  // where its memory BARs are placed, kMemoryWindowBytes

  std::string id() const { return "d" + std::to_string(index); }
};

// Where a device with a vhost-user backend meets it on one side, by the device's id.
using VhostSockets = std::map<std::string, std::string>;

// More devices than this do not fit the windows.
inline constexpr std::size_t kDevicesPerVm = 16;
inline constexpr std::uint32_t kIoWindowBytes = 0x800;
inline constexpr std::uint32_t kMemoryWindowBytes = 16u << 20;

class Layout {
 public:
  // `machine`: a -machine value that both builds know. Kind bad_input: placement and chipset do not go together.
  static base::Result<Layout> make(std::string machine, Placement placement, const std::vector<DevicePair>& devices);

  Chipset chipset() const { return chipset_; }
  const std::vector<PlacedDevice>& devices() const { return devices_; }
  // devfn on bus 0 of the conventional bridge in front of the devices; 0: none.
  std::uint8_t bridge_devfn() const { return bridge_devfn_; }
  // Does any of the devices have a vhost-user backend? RAM is shared with it then.
  bool needs_vhost_exports() const;
  // What -machine says, and the options for RAM, devices and their backends. `sockets`: of the devices that need one.
  std::string machine() const;
  base::Result<std::vector<std::string>> hardware(Side side, const VhostSockets& sockets) const;
  // The device that a message names by its path, or by an id of a -device, -object, ... argument; npos: none.
  std::size_t device_in_load_error(const std::vector<std::string>& lines) const;
  std::size_t device_in_start_error(const std::vector<std::string>& lines) const;
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

 private:
  base::Result<void> append_device(const PlacedDevice& placed, Side side, const VhostSockets& sockets,
                                   std::vector<std::string>& words) const;

  std::string machine_;
  Chipset chipset_ = Chipset::pc;
  Placement placement_ = Placement::root;
  std::uint8_t bridge_devfn_ = 0;
  std::vector<PlacedDevice> devices_;
};

// "virtio-blk-pci,discard=off": as a person would write it.
std::string device_text(const DevicePair& device, Side side);

}  // namespace migsoak::compat
