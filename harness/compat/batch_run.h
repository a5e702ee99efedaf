// The work of batch.h. Internal to compat.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "compat/attempt.h"
#include "compat/batch.h"
#include "compat/config_access.h"

namespace migsoak::compat {

using Indices = std::vector<std::size_t>;

// Indices into `facts_` throughout, except where a layout's own are meant.
class Batch {
 public:
  Batch(CompatHost& lab, const BuildPair& builds, const std::vector<DevicePair>& devices, base::Deadline deadline)
      : lab_(lab), builds_(builds), deadline_(deadline) {
    for (const DevicePair& device : devices) {
      facts_.emplace_back();
      facts_.back().device = device;
    }
  }

  base::Result<std::vector<DeviceFacts>> run();

 private:
  base::Result<void> run_group(Indices group);
  base::Result<bool> first_look(Indices& group);
  base::Result<void> look_at_masks(VmPair& vms, const Layout& layout, const Indices& group, const Attempt& first);
  base::Result<void> look_at_queues(VmPair& vms, const Layout& layout, const Indices& group);
  base::Result<void> read_visible_properties(ProbeVm& vm, const Layout& layout, const Indices& group, Side side);
  base::Result<void> read_queue_properties(ProbeVm& vm, const Layout& layout, const Indices& group, Side side);
  base::Result<void> look_without_load(const Indices& group);
  base::Result<void> split(const Indices& group);
  void give_up_on(std::size_t index, const Attempt& attempt);
  base::Result<bool> bare_machine_loads();
  base::Result<void> run_states(const Indices& group);
  base::Result<void> run_state(VmPair first_pair, const Layout& layout, const Indices& group, GuestState state,
                               const Indices& applicable);
  void note(const Layout& layout, const Indices& group, GuestState state, const Indices& subset,
            const Attempt& attempt);
  void note_one(std::size_t index, GuestState state, LoadOutcome outcome, std::vector<std::string> lines);
  base::Result<Layout> layout_of(const Indices& group) const;
  std::vector<ConfigView> views_of(const Indices& group) const;

  CompatHost& lab_;
  const BuildPair& builds_;
  base::Deadline deadline_;
  std::vector<DeviceFacts> facts_;
  Indices refused_;  // as they come out of reset
  std::optional<bool> bare_loads_;
  std::string bare_reason_;
};

}  // namespace migsoak::compat
