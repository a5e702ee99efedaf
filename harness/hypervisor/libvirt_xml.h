// A machine as libvirt's domain XML (https://libvirt.org/formatdomain.html). Internal to hypervisor.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "hypervisor/machine_spec.h"

namespace migsoak::hypervisor {

struct LibvirtIdentity {
  std::string name;
  std::string uuid;
  std::map<std::string, std::string> env = {};  // of QEMU, besides the machine's own
};

// Pure. The same machine as command_line() makes, with libvirt's own ideas of what a QEMU needs besides. kind
// bad_input: libvirt has no words for something in it; which, and why.
base::Result<std::string> domain_xml(const MachineSpec& spec, const LibvirtIdentity& identity);

// Pure. `xml` with the machine type and the CPU that are spelt out in `running`, of a domain that runs and can be
// migrated; unchanged where that is no XML.
std::string with_machine_of(const std::string& running, const std::string& xml);

// Pure. A device to be attached to the running domain of `spec`, as domain_xml() of a set with it would have it. kind
// bad_input: libvirt has no words for it.
base::Result<std::string> device_xml(const MachineSpec& spec, const DeviceSpec& device);
// Why libvirt can't plug devices of this type into a running domain; empty: it can.
std::string why_not_attached(const std::string& type);

// What QEMU calls a device that the set calls `id`: libvirt takes names of ours with this prefix only.
std::string libvirt_device_id(const std::string& id);
// In a QMP line: for those who know devices by the set's names, QEMU's names of these devices are replaced by them; and
// in what is sent to QEMU, their paths in its object tree by its own.
std::string with_own_ids(std::string answer, const std::vector<std::string>& ids);
std::string with_libvirt_ids(std::string command, const std::vector<std::string>& ids);

}  // namespace migsoak::hypervisor
