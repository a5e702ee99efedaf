// RestartSteps: where the plan's restarts of targets stand in an iteration, and what the guest's requests make of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/iteration_context.h"
#include "engine/restarts.h"
#include "engine/step.h"
#include "engine/verification.h"

namespace migsoak::engine {

class RestartSteps {
 public:
  // Borrows all.
  RestartSteps(IterationContext& iteration, RestartRunner& restarts, Verification& verification)
      : iteration_(iteration), restarts_(restarts), verification_(verification) {}

  bool planned(const std::string& timing) const { return restarts_.planned(timing); }
  StepOutcome run(const std::string& timing);

  // Devices with io = "settled": no request of theirs may be in flight at the switch-over.
  base::Result<void> ask_to_settle();
  StepOutcome settle_disks();

  // A migration that is to see a restart must not be over before it. Precopy does not end as long as it can't send what
  // the guest writes.
  StepOutcome hold_migration();
  // Called from within the migration, when it has begun. Trouble is kept for when it is over: it uses both ends.
  void run_during();
  // What came of that, once the migration is over; nothing: go on.
  std::optional<StepOutcome> conclude_during();

  // Errors of requests in flight are over when a second verification has none; else they last.
  bool has_errors_to_confirm() const { return restarts_.declared_errors() > 0 && !restarts_.lost_as_declared(); }
  StepOutcome verify_again();
  StepOutcome conclude_errors();

 private:
  StepOutcome give_up(const base::Error& error) const;
  StepOutcome end_guest_as_declared();
  base::Result<void> wait_until_active();

  IterationContext& iteration_;
  RestartRunner& restarts_;
  Verification& verification_;
  base::Result<void> during_;
  std::int64_t full_bandwidth_ = 0;             // of the source, before the migration was held
  std::optional<std::uint64_t> errors_before_;  // of the second verification
};

}  // namespace migsoak::engine
