// Destination: the QEMU that the guest is to move to, from its start until it can take the guest; and the one after it,
// raised early.
#pragma once

#include <string>

#include "engine/iteration_context.h"
#include "engine/operations.h"
#include "engine/step.h"

namespace migsoak::engine {

class Destination {
 public:
  // `next_side`: the side on which the next destination may be raised early; empty: none follows.
  Destination(IterationContext& iteration, const OperationRunner& operations, std::string next_side)
      : iteration_(iteration), operations_(operations), next_side_(std::move(next_side)) {}

  // Starts it, with what the guest will have; or finds the one that was raised early.
  StepOutcome spawn();
  // Until it can take the guest.
  StepOutcome raise();
  // For those that start before the migration: it has not ended meanwhile.
  StepOutcome still_there() const;
  // When an operation went otherwise than planned, replaces the destination by one with the devices that the guest has.
  StepOutcome match_devices();
  // Discards a destination that was raised early for a plan that no longer applies: a migration failed.
  void retire_unused();

  void begin_raising_next();
  StepOutcome finish_raising_next();

 private:
  StepOutcome spawn_with(const hypervisor::DeviceSet& devices);

  IterationContext& iteration_;
  const OperationRunner& operations_;
  std::string next_side_;
};

// A wrapper that can't be run is the scenario's doing and shows only when it is used: data, not a broken harness.
base::Error as_subjects(base::Error error, bool has_wrapper);

}  // namespace migsoak::engine
