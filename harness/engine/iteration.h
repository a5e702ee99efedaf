// One iteration: a table of steps, from a failed upgrade over the migration to the quiet point. Everything the subject
// does wrong becomes an event in the observation; the status tells how far it got.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/destination.h"
#include "engine/iteration_context.h"
#include "engine/lineage.h"
#include "engine/migration.h"
#include "engine/operations.h"
#include "engine/process_watch.h"
#include "engine/quiet_point.h"
#include "engine/reads.h"
#include "engine/restart_steps.h"
#include "engine/restarts.h"
#include "engine/step.h"
#include "engine/upgrade_attempt.h"
#include "engine/verification.h"

namespace migsoak::engine {

class IterationRunner {
 public:
  // Borrows both. All times in the record count from `began`. `next_side`: the side on which the next destination may
  // be raised early; empty: none follows. `listener` may be null.
  IterationRunner(Lineage& lineage, record::Observation& into, base::Clock::time_point began, std::string next_side,
                  StepListener* listener = nullptr);

  // `boots`: the guest is to be booted first (first iteration of a lineage). Sets the observation's status.
  StepResult run(bool boots);

  // Names of all steps, once each, in the order of the tables.
  std::vector<std::string> step_names();

 private:
  // The three tables. Together they are the description of an iteration.
  std::vector<Step> boot_steps();
  std::vector<Step> iteration_steps();
  std::vector<Step> steps_on_source();  // when the guest stays where it was

  StepResult move_guest();
  void conclude(StepResult result);

  StepOutcome start_targets();
  StepOutcome spawn_first();
  StepOutcome wait_for_guest();
  StepOutcome start_workload();
  StepOutcome begin_lineage();
  bool upgrade_is_to_fail() const;
  StepOutcome attempt_upgrade();
  bool has_plugged_before() const;
  StepOutcome read_config_by_guest();
  StepOutcome hear_guest_on_source();

  record::Journal journal_;
  StepListener* listener_;
  Reads reads_;
  IterationContext context_;
  RestartRunner restart_runner_;
  Verification verification_;
  OperationRunner operations_;
  RestartSteps restarts_;
  Destination destination_;
  DescriptorPeaks peaks_;
  Migration migration_;
  QuietPoint quiet_point_;
  LineageWatch watch_;
  guest::Hello hello_;
  std::unique_ptr<UpgradeAttempt> attempt_;
};

}  // namespace migsoak::engine
