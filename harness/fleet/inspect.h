// Asking a QEMU what it is: the one place that runs a build for what it says of itself. Always without a side's env and
// wrapper.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fleet/fleet.h"

namespace migsoak::fleet {

// The least that is worth asking; it takes one start.
struct Identity {
  std::string path;     // absolute, links resolved
  std::string version;  // "7.2.22"
  std::string full;     // the line of --version that names it, printable
  std::string package;  // "qemu-system-x86 1:7.2+dfsg-7+deb12u18+b3"; empty when it came in none
};
// kind bad_input when it is no QEMU.
base::Result<Identity> identify(const Host& host, const std::string& qemu, base::Deadline deadline);

// All that a Build holds: version, machines, devices, modes. Name, id, suite and package stay empty. kind bad_input
// when it is no QEMU.
base::Result<Build> inspect_build(const Host& host, const LocalBuild& local, base::Deadline deadline);
// `launcher` goes before the binary: the tree's own ld.so for a binary that is not in its final place yet.
base::Result<Build> inspect_through(const Host& host, const std::vector<std::string>& launcher, const LocalBuild& local,
                                    base::Deadline deadline);

// What the build remembers of itself, else what it says now. Empty when it can't be asked: whoever checks a name
// against it takes the name to be there. Errors: interrupted.
base::Result<std::vector<std::string>> machine_names(const Host& host, const Build& build, base::Deadline deadline);
base::Result<std::vector<DeviceType>> device_types(const Host& host, const Build& build, base::Deadline deadline);
base::Result<std::vector<std::string>> device_properties(const Host& host, const Build& build,
                                                         const std::string& driver, base::Deadline deadline);

// What a machine type sets on devices so that they look as in an older release.
struct CompatProperty {
  std::string type;  // QOM type, or a parent of it
  std::string property;
  std::string value;
};
// `machine`: a -machine value. kind subject: the build can't tell (QEMU before 9.1), or has no such machine.
base::Result<std::vector<CompatProperty>> compat_properties(const Host& host, const Build& build,
                                                            const std::string& machine, base::Deadline deadline);

// "qemu-system-common 1:7.2+dfsg-7": the package and version that any program came in; empty when it belongs to none,
// or this is no Debian.
std::string package_of(const Host& host, const std::string& path, base::Deadline deadline);

// "<size>:<mtime in nanoseconds>" of a file; empty when there is none.
std::string binary_stamp(const std::string& path);

// `-device help`, one type a line: name "virtio-blk-pci", bus PCI, alias "virtio-blk", desc "…"
std::vector<DeviceType> parse_device_help(std::string_view text);

// The values of the enum that member `member` of the command's arguments has, by QAPI introspection (QEMU
// docs/devel/qapi-code-gen, "Client introspection": names of types are numbers). For an array argument, `member` is one
// of its elements. Empty when this build has no such command or member.
std::vector<std::string> enum_values(const base::Json& schema, const std::string& command, const std::string& member,
                                     const std::string& array_argument = "");

}  // namespace migsoak::fleet
