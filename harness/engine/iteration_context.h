// What the units of one iteration share: who is who in it, what is being read of them, where it is recorded.
#pragma once

#include "engine/lineage.h"
#include "engine/migration_session.h"
#include "engine/readings.h"
#include "engine/reads.h"
#include "ops/modes/mode.h"
#include "record/journal.h"

namespace migsoak::engine {

struct IterationContext {
  Lineage& lineage;
  record::Journal& journal;
  const ops::Mode& mode;  // of the plan
  Ends ends;
  Reads& reads;
  Readings readings;

  const Scenario& scenario() const { return lineage.context().scenario; }
  const record::Plan& plan() const { return journal.plan(); }
  base::Deadline answer_deadline() const {
    return base::Deadline::in(std::chrono::seconds(scenario().deadline.answer_s));
  }
  base::Deadline spawn_deadline() const {
    return base::Deadline::in(std::chrono::seconds(scenario().deadline.spawn_s));
  }
  // The destination's process runs before the migration begins.
  bool starts_before() const {
    return mode.needs.process_order == ops::ProcessOrder::beside ||
           mode.needs.process_order == ops::ProcessOrder::waiting;
  }
  // The guest's life ends by plan, and all its QEMUs with it.
  void end_guest() {
    while (!lineage.vms().empty()) lineage.retire(lineage.vms().front(), /*by_quit=*/false, journal);
    ends = {};
  }
};

}  // namespace migsoak::engine
