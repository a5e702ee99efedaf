// The ways in which libvirt migrates a guest, by the words that scenarios have for them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "proc/containment.h"
#include "proc/reactor.h"
#include "record/plan.h"

namespace migsoak::hypervisor {

inline constexpr const char* kPeerToPeer = "peer-to-peer";
inline constexpr const char* kClientManaged = "client";
inline constexpr const char* kTunnelled = "tunnelled";
// Not live: one daemon saves the guest into a file, the other restores it.
inline constexpr const char* kSaved = "saved";

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

// Pure. Why these do not go together in one migration; empty: they do.
std::string libvirt_conflict(const std::string& transport, const record::LibvirtWay& way);

// With "postcopy" the destination's QEMU fetches pages as the guest asks for them. kind bad_input: this host does not
// let this user.
base::Result<void> check_userfaultfd();
// With "zerocopy" libvirt has the guest's memory locked in the source's QEMU. kind bad_input: this host or container
// does not allow so much.
base::Result<void> check_locked_memory(proc::Reactor& reactor, proc::Containment& containment, std::uint64_t bytes,
                                       base::Deadline deadline);

}  // namespace migsoak::hypervisor
