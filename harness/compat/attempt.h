// Attempt: one real migration of one pair of throwaway VMs, and what came of it. Internal to compat.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "compat/batch.h"
#include "compat/vhost_exports.h"

namespace migsoak::compat {

struct VmPair {
  std::unique_ptr<VhostExports> exports;  // outlives the VMs
  std::unique_ptr<ProbeVm> source, destination;
};
// kind subject: the vhost-user backends did not come up.
base::Result<VmPair> start_pair(CompatHost& lab, const BuildPair& builds, const Layout& layout);

enum class AttemptOutcome {
  loaded,
  refused,         // by the destination
  not_migratable,  // refused by the source
  not_started,     // a VM did not come up
  trouble,         // a hang, a crash of the source, nonsense
};

struct Attempt {
  AttemptOutcome outcome = AttemptOutcome::trouble;
  Side side = Side::from;                       // of not_started
  bool both_sides = false;                      // of not_started
  std::vector<std::string> lines;               // what was said about it
  std::size_t culprit = Layout::kNone;          // index in the layout, when the lines name one
  std::vector<pci::ConfigImage> before, after;  // of all devices: in the source; in the destination, when loaded
  std::vector<VirtioView> virtio_before, virtio_after;  // of the drivers' states: of the subset
  std::vector<pci::ConfigImage> fresh;                  // untouched: the destination's own, before it loaded
};

// `views` may be empty for `untouched`. Errors: interrupted, or the harness's own.
base::Result<Attempt> attempt(VmPair& vms, const Layout& layout, GuestState state,
                              const std::vector<std::size_t>& subset, const std::vector<ConfigView>& views,
                              base::Deadline deadline);

}  // namespace migsoak::compat
