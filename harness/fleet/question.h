// Questioning a QEMU. Internal to fleet; fleet.h has question().
#pragma once

#include <string>
#include <vector>

#include "fleet/fleet.h"

namespace migsoak::fleet {

// `launcher` goes before the binary: the tree's own ld.so for a binary that is not in its final place yet.
base::Result<Build> question_through(const Host& host, const std::vector<std::string>& launcher, const OwnBuild& own,
                                     base::Deadline deadline);

// "<size>:<mtime in nanoseconds>" of a file; empty when there is none.
std::string binary_stamp(const std::string& path);

// `-device help`, one type a line: name "virtio-blk-pci", bus PCI, alias "virtio-blk", desc "…"
// For the engine's preflight, too.
std::vector<DeviceType> parse_device_help(std::string_view text);

// The values of the enum that member `member` of the command's arguments has, by QAPI introspection (QEMU
// docs/devel/qapi-code-gen, "Client introspection": names of types are numbers). For an array argument, `member` is one
// of its elements. Empty when this build has no such command or member.
std::vector<std::string> enum_values(const base::Json& schema, const std::string& command, const std::string& member,
                                     const std::string& array_argument = "");

}  // namespace migsoak::fleet
