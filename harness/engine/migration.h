// Migration: from the moment both ends are as they should be until the guest has shown itself on its destination and
// the source is gone. What comes when depends on how the mode's processes follow each other (ops::ProcessOrder).
#pragma once

#include <string>

#include "engine/destination.h"
#include "engine/iteration_context.h"
#include "engine/migration_session.h"
#include "engine/operations.h"
#include "engine/quiet_point.h"
#include "engine/restart_steps.h"
#include "engine/step.h"
#include "engine/verification.h"

namespace migsoak::engine {

class Migration : private ops::MigrationListener {
 public:
  // What it uses of the iteration. All borrowed.
  struct Parts {
    OperationRunner& operations;
    RestartSteps& restarts;
    Destination& destination;
    Verification& verification;
    DescriptorPeaks& peaks;
  };
  Migration(IterationContext& iteration, Parts parts)
      : iteration_(iteration),
        ends_(iteration.ends),
        with_(parts),
        session_(iteration.lineage, iteration.journal, iteration.mode, iteration.ends) {}

  // Ends with the first heartbeat on the destination. A process that ends before that ended within the migration, and
  // what is declared of the migration applies to it.
  StepOutcome run();
  StepOutcome finish_source();
  // It was run, and the guest is to be on the source still.
  bool failed() const { return failed_ != Failure::none; }
  StepOutcome look_at_source_after_failure();

 private:
  enum class Failure { none, declared, undeclared };

  void settings_sent(ops::End end, const ops::SentSettings& settings) override;
  void channel_opened(const base::Json& arguments) override;
  void started() override;
  void progress() override;
  void reached(ops::MigrationPhase phase) override;
  base::Result<hypervisor::Machine*> raise(base::Deadline deadline) override;
  base::Result<void> release_source() override;
  StepOutcome conclude(const ops::MigrationOutcome& outcome);
  StepOutcome switch_over();
  StepOutcome conclude_failed(const ops::MigrationOutcome& outcome);
  StepOutcome conclude_declared(const ops::MigrationOutcome& outcome);
  StepOutcome lose_as_declared(const std::string& result, const std::string& error);
  void note_declared(const std::string& result, const std::string& error);
  void clear_destination(const ops::MigrationOutcome& outcome);
  void clear_cancelled_destination(const ops::MigrationOutcome& outcome);
  void ask_source_to_quit();
  void retire_source();

  IterationContext& iteration_;
  Ends& ends_;
  Parts with_;
  MigrationSession session_;
  double raise_next_after_ms_ = 0;  // 0: not while the migration runs
  base::Clock::time_point began_;
  base::Clock::time_point started_;  // the source was told
  Failure failed_ = Failure::none;
  base::Json settings_ = base::Json::object();  // as sent, by end: evidence of a failure
  base::Json channel_ = base::Json::object();   // as the source was told
  base::Clock::time_point quit_began_;
};

}  // namespace migsoak::engine
