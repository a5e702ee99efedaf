// Reading sysfs: folders, links and the two kinds of address that are parts of a device's path.
#pragma once

#include <string>
#include <vector>

namespace migsoak::agent {

// Names in a folder, sorted, without those that begin with a dot; empty when there is no such folder.
std::vector<std::string> list_folder(const std::string& path);
bool exists(const std::string& path);
// Last part of what a symbolic link points to; empty when it is none.
std::string link_name(const std::string& path);
// The whole path that a link leads to; empty when it leads nowhere.
std::string resolved(const std::string& path);
// "/sys/devices/pci0000:00/0000:00:02.0/0000:01:00.0/virtio0" -> "0000:01:00.0": the nearest PCI function above.
std::string pci_address_in(const std::string& path);
// ".../host0/target0:0:1/0:0:1:0" -> "0:1:0": channel, target and LUN without the host's number, which differs from
// boot to boot and from plug to plug; empty when the path ends otherwise.
std::string scsi_address_in(const std::string& path);
bool write_text(const std::string& path, const std::string& text);

}  // namespace migsoak::agent
