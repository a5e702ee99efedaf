// What Documents of the kind device-tree hold: a machine's buses, devices and properties (`info qtree`) and the objects
// it is composed of (`info qom-tree`), as a structure. Plain data.
//
// A tree is stored in parts, one Document each: what belongs to the board ("board"), and each device that has an id and
// hangs on a bus of the board, with all that is below it. Devices that come and go cost the record their own part only;
// the others are stored already (contents are stored once).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "record/observation.h"

namespace migsoak::record {

// A bus, or a device on a bus.
struct TreeNode {
  bool bus = false;
  std::string type;                          // "virtio-blk-pci"; of a bus "PCIE"
  std::string id;                            // of a device; empty when nobody gave it one
  std::map<std::string, std::string> props;  // as QEMU prints them, without quotes and without the second notation in
                                             // parentheses: {"vectors": "2", "drive": "vd0-node"}
  bool operator==(const TreeNode&) const = default;
};

// Names of buses and devices from the root, "main-system-bus/q35-pcihost/pcie.0/vd0/virtio-bus/virtio-blk-device". A
// device is called by its id; by its place on a PCI bus ("@1f.3"); by its type. Those that would have the same name are
// numbered in the order in which QEMU made them: "smbus-eeprom", "smbus-eeprom#2".
using TreePath = std::string;

struct DeviceTree {
  std::map<TreePath, TreeNode> nodes;
  // QOM paths below /machine with their types, "/peripheral/vd0 (virtio-blk-pci)", and how many there are of each: an
  // index is replaced by the type ("/unattached/device[ich9-ahci]"), because it counts what was made before.
  std::map<std::string, int> objects;
  bool cut = false;  // there was more than the reader takes: not comparable
  bool operator==(const DeviceTree&) const = default;
};

// Is `name` one of the names that make up the path?
bool has_component(const std::string& path, const std::string& name);
// The path without its last name; empty for a root.
TreePath parent_of(const TreePath& path);
// The id of the innermost device on the path (itself included) that has one; empty: the board's own.
std::string owner_of(const DeviceTree& tree, const TreePath& path);

// Contents of the tree's parts, "board" first.
std::vector<base::Json> to_parts(const DeviceTree& tree);
// kind bad_input: not such parts. Parts may come in any order.
base::Result<DeviceTree> tree_from_parts(const std::vector<const base::Json*>& parts);
// Contents of the observation's documents that make up the tree at `point`; empty when none was read.
std::vector<const base::Json*> tree_parts_at(const Observation& observation, const std::string& point);

}  // namespace migsoak::record
