// VhostExports: the vhost-user backends of one pair of throwaway VMs: one storage daemon, empty disks, an export for
// each device on either side (an export serves one client, qemu-storage-daemon(1)).
#pragma once

#include <memory>
#include <string>

#include "base/deadline.h"
#include "base/result.h"
#include "compat/layout.h"
#include "compat/probe_vm.h"
#include "target/target.h"

namespace migsoak::compat {

class VhostExports {
 public:
  // Of the source's build where it brings one, else the one in PATH: the same for both sides, so that what differs is
  // theirs. Returns once all exports listen. kind subject: it ended first, with its last word.
  static base::Result<std::unique_ptr<VhostExports>> start(CompatHost& lab, const fleet::Build& build,
                                                           const Layout& layout, base::Deadline deadline);

  VhostSockets sockets(Side side) const;

 private:
  VhostExports() = default;
  std::unique_ptr<target::Target> daemon_;
};

}  // namespace migsoak::compat
