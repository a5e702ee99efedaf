// GuestTargets: the targets that serve one guest: those that serve it to its end, those that come and go with a VM, and
// those that end as asked and come back.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/lane_context.h"
#include "engine/target_spec.h"
#include "probes/probe.h"
#include "record/journal.h"
#include "target/target.h"

namespace migsoak::engine {

struct TargetInstance {
  std::unique_ptr<target::Target> target;
  std::string name;  // "target:disk0", "target:disk0@a"
  TargetPlace place;
  std::int64_t process_id = 0;
  bool lost = false;        // its end was recorded
  bool restarting = false;  // its end is expected

  bool serves(const std::string& side, const std::string& slot) const {
    return (place.side.empty() || place.side == side) && (place.slot.empty() || place.slot == slot);
  }
  // Unasked, and that is not on record yet.
  bool has_ended() const { return !lost && !restarting && target->child().exited(); }
};

class GuestTargets {
 public:
  // Borrows all. `lineage`: its number, for names of log files.
  GuestTargets(const LaneContext& context, int lineage, probes::ProbeState& probe_state);
  // Stops them all; nothing is recorded any more.
  ~GuestTargets();
  GuestTargets(const GuestTargets&) = delete;
  GuestTargets& operator=(const GuestTargets&) = delete;

  // Those that outlive a VM. Errors of kind subject name the target: `blamed` is set to it.
  base::Result<void> start_lasting(record::Journal& journal, std::string& blamed);
  // Those with share = "per-vm" of that VM: they come before their QEMU and go after it.
  base::Result<void> start_for(const TargetPlace& vm, record::Journal& journal);
  // Ends one whose QEMU has gone. False: not all was well. One that serves a single QEMU ends when that goes, and says
  // with its status how it fared; any other has to be there until it is asked to end.
  bool stop(TargetInstance& instance);
  // Those of a slot, which were stopped.
  void forget(const std::string& slot);
  // Takes on one that was started, not on record yet.
  TargetInstance& hold(std::unique_ptr<target::Target> target, const TargetPlace& place);

  // These record, in this order: it ended as asked; a process, the first or another one, started; it ended unexpectedly
  // and is lost. Its log is to be drained before.
  void note_stopped(const TargetInstance& instance, record::Journal& journal);
  void note_started(TargetInstance& instance, record::Journal& journal);
  void note_lost(TargetInstance& instance, record::Journal& journal);
  // What they count themselves, as samples "target.<figure>".
  void sample(record::Journal& journal) const;

  const std::list<TargetInstance>& all() const { return instances_; }
  // All but the lost ones.
  std::vector<const TargetInstance*> live() const;
  // The live ones of a [[target]].
  std::vector<TargetInstance*> live_of(const std::string& target);
  // The live ones that serve the QEMU in that slot and no other.
  std::vector<TargetInstance*> live_in(const std::string& slot);
  // Those of which has_ended() holds.
  std::vector<TargetInstance*> ended();
  bool any_ended() const;
  bool any_lost() const;
  // Null: none.
  const TargetInstance* find(const std::string& name) const;
  const TargetInstance* find(std::int64_t process_id) const;

  // Where a QEMU meets the target; the process may be yet to come.
  base::Result<target::Endpoint> endpoint_for(const TargetScenario& target, const std::string& device,
                                              const TargetPlace& vm) const;
  // A third QEMU may be connected beside source and destination.
  bool have_spare_slots() const;

 private:
  base::Result<void> start(const TargetScenario& scenario, const TargetPlace& place, record::Journal& journal);

  const LaneContext& context_;
  int lineage_;
  probes::ProbeState& probe_state_;
  std::list<TargetInstance> instances_;
};

}  // namespace migsoak::engine
