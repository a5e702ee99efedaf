// UpgradeAttempt: an attempt at an iteration's migration that is made to fail (Plan::upgrade_failure,
// ops/upgrade_failures), and what becomes of the guest. Whatever goes as sabotaged becomes one event kUpgradeFailure,
// never a hang or an unexpected end; nothing of the attempt is left when run() returns.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "engine/lineage.h"
#include "ops/modes/mode.h"
#include "ops/upgrade_failures/upgrade_failure.h"

namespace migsoak::engine {

class UpgradeAttempt {
 public:
  // What it needs of the iteration.
  struct Scribe {
    std::function<record::Event&(const char* kind, const std::string& subject, std::int64_t process_id,
                                 const std::string& text)>
        add_event;
    std::function<double()> at_ms;
    // The guest was verified and is not intact.
    std::function<void(const guest::VerifyReport& report)> record_damage;
    // What is to be seen of a process before it ends.
    std::function<void(const Player& player)> look_before_end;
  };
  // Borrows lineage, observation, mode and failure.
  UpgradeAttempt(Lineage& lineage, record::Observation& into, const ops::Mode& mode, const ops::UpgradeFailure& failure,
                 Scribe scribe);

  // `source` runs the guest. Returns the QEMU that has the guest afterwards, null when it is lost. Errors: interrupted;
  // environment (the sabotage could not be done).
  base::Result<Player*> run(Player& source);
  // At the end of the iteration: did the migration that followed complete?
  void conclude(bool migrates);

 private:
  ops::MigrationOutcome attempt(base::Deadline deadline);
  ops::MigrationContext context(base::Deadline deadline);
  base::Result<hypervisor::Machine*> raise(base::Deadline deadline);
  base::Result<void> release_source();
  bool new_side_runs(base::Deadline deadline);
  void note_hang();
  void keep_lines(const Player& player);
  void clear_new_side();
  void rescue();
  bool return_to_source();
  void start_again();
  base::Result<void> load_again(Player& player, base::Deadline deadline);
  bool guest_beats(Player& player);
  base::Result<void> verify();
  void remove_traces() const;
  void end(Player& player);
  void record(const std::string& new_side, std::int64_t process_id);

  Lineage& lineage_;
  const LaneContext& context_;
  record::Observation& into_;
  const ops::Mode& mode_;
  const ops::UpgradeFailure& failure_;
  Scribe scribe_;
  base::Clock::time_point began_;
  std::string source_side_;
  std::shared_ptr<RamFile> ram_;  // of the guest, whoever maps it
  PreparedPlayer prepared_;
  std::string state_file_;  // as the source was told
  std::string kept_file_;   // the same file under another name
  Player* source_ = nullptr;
  Player* next_ = nullptr;   // the new side's process
  Player* guest_ = nullptr;  // who has the guest, in the end
  std::int64_t next_id_ = 0;
  bool ran_on_new_side_ = false;
  bool interrupted_ = false;
  std::string error_, result_, fate_ = "unknown", how_;
  std::vector<std::string> said_before_;  // by the source
  base::Json log_ = base::Json::array(), hang_;
  std::optional<bool> intact_;
  std::optional<base::Error> harness_error_;
  std::size_t event_ = 0;  // in the observation
};

}  // namespace migsoak::engine
