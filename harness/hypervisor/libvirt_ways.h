// The ways in which libvirt migrates a guest, by the words that scenarios have for them. Pure, and without libvirt.
#pragma once

#include <string>
#include <vector>

#include "record/plan.h"

namespace migsoak::hypervisor {

inline constexpr const char* kPeerToPeer = "peer-to-peer";
inline constexpr const char* kClientManaged = "client";
inline constexpr const char* kTunnelled = "tunnelled";

struct LibvirtFlag {
  std::string name;
  unsigned value;             // VIR_MIGRATE_…
  std::string libvirt_since;  // "8.5"; empty: any
  std::string qemu_since;
  std::string needs;  // another flag; empty: none
};
const std::vector<LibvirtFlag>& libvirt_flags();
const LibvirtFlag* find_libvirt_flag(const std::string& name);
std::vector<std::string> libvirt_flag_names();

// Why these do not go together in one migration; empty: they do.
std::string libvirt_conflict(const std::string& transport, const record::LibvirtWay& way);

}  // namespace migsoak::hypervisor
