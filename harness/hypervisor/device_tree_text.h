// Internal to hypervisor: the texts of `info qtree` and `info qom-tree` (QEMU softmmu/qdev-monitor.c and
// qom/qom-hmp-cmds.c, alike in 5.2 to 11.1) become a structure. There is no QMP command that gives either in one piece
// on all these builds: qom-list walks one object per round trip, qom-list-get is new.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "record/device_tree.h"

namespace migsoak::hypervisor {

// What a peer says beyond these is not taken, and the tree is marked as cut.
inline constexpr std::size_t kTreeTextBytesMax = 2u << 20;
inline constexpr std::size_t kTreeNodesMax = 4096;
inline constexpr std::size_t kTreeDepthMax = 48;
inline constexpr std::size_t kTreePropsMax = 512;   // of one device
inline constexpr std::size_t kTreeNameBytes = 128;  // of a name, a type, a property's name
inline constexpr std::size_t kTreeValueBytes = 256;
inline constexpr std::size_t kTreePathBytes = 1024;

// Never fails: what is not understood is left out (device_tree_left_out.def says what is left out on purpose).
record::DeviceTree parse_device_tree(std::string_view qtree, std::string_view qom_tree);

}  // namespace migsoak::hypervisor
