// UpgradeAttempt: an attempt at an iteration's migration that is made to fail (Plan::upgrade_failure,
// ops/upgrade_failures), and what becomes of the guest. Whatever goes as sabotaged becomes one record::ExpectedTrouble,
// never a hang or an unexpected end; nothing of the attempt is left when run() returns.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "engine/iteration_context.h"
#include "engine/verification.h"
#include "ops/upgrade_failures/upgrade_failure.h"
#include "record/expected_trouble.h"

namespace migsoak::engine {

class UpgradeAttempt : private ops::MigrationListener {
 public:
  // Borrows all. `verification` records what the guest finds damaged afterwards.
  UpgradeAttempt(IterationContext& iteration, const ops::UpgradeFailure& failure, Verification& verification);

  // `source` runs the guest. Returns the QEMU that has the guest afterwards, null when it is lost. Errors: interrupted;
  // environment (the sabotage could not be done).
  base::Result<Vm*> run(Vm& source);
  // At the end of the iteration: did the migration that followed complete?
  void conclude(bool migrates);

 private:
  ops::MigrationOutcome attempt(base::Deadline deadline);
  base::Result<hypervisor::Machine*> raise(base::Deadline deadline) override;
  base::Result<void> release_source() override;
  bool new_side_runs(base::Deadline deadline);
  void note_hang();
  void keep_lines(const Vm& vm);
  void clear_new_side();
  void rescue();
  bool return_to_source();
  void start_again();
  base::Result<void> load_again(Vm& vm, base::Deadline deadline);
  bool guest_beats(Vm& vm);
  base::Result<void> verify();
  void remove_traces();
  void end(Vm& vm);
  void record(const std::string& new_side, std::int64_t process_id);

  Lineage& lineage_;
  const LaneContext& context_;
  record::Journal& journal_;
  const ops::Mode& mode_;
  const ops::UpgradeFailure& failure_;
  Verification& verification_;
  base::Clock::time_point began_;
  double began_at_ms_ = 0;
  std::string source_side_;
  std::shared_ptr<RamFile> ram_;  // of the guest, whoever maps it
  Ends ends_;                     // destination: the new side's process
  MigrationSession session_;
  std::string state_file_;  // as the source was told
  std::string kept_file_;   // the same file under another name
  Vm* guest_ = nullptr;     // who has the guest, in the end
  std::int64_t next_id_ = 0;
  bool ran_on_new_side_ = false;
  bool interrupted_ = false;
  std::string error_, result_, fate_ = "unknown", how_;
  std::vector<std::string> said_before_;  // by the source
  base::Json log_ = base::Json::array(), hang_;
  std::optional<bool> intact_;
  std::optional<base::Error> harness_error_;
  record::ExpectedTrouble trouble_;
  std::optional<std::size_t> event_;  // its place in the journal
};

}  // namespace migsoak::engine
