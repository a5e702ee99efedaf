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
  // What an operation did not do as planned, the destination must not have done either: another one, if need be.
  StepOutcome match_devices();
  // One that was raised early for a plan that a failed migration has overtaken.
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
