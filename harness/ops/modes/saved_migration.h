// SavedMigration: a migration by way of a file that holds the state of the devices, while guest RAM stays where it is.
// The destination begins when the source has saved. Internal to ops/modes, shared by cpr-reboot and cpr-exec.
#pragma once

#include <optional>
#include <string>

#include "ops/modes/migration_settings.h"
#include "ops/modes/mode.h"
#include "ops/modes/peer_status.h"
#include "ops/modes/phase_facts.h"

namespace migsoak::ops {

class SavedMigration {
 public:
  // ProcessOrder::afterwards: releases the source, raises the destination, has it load. ProcessOrder::in_place: the
  // source execs into a machine that loads by itself.
  SavedMigration(MigrationContext& context, const Mode& mode, MigrationSettings settings);
  MigrationOutcome run();

 private:
  bool in_place() const { return mode_.needs.process_order == ProcessOrder::in_place; }
  bool saved() const;
  void look_at_migrate();
  void progress();
  proc::Wait wait_for(const std::function<bool()>& predicate);
  std::optional<MigrationOutcome> set_up();
  std::optional<MigrationOutcome> save();
  MigrationOutcome not_saved(proc::Wait waited);
  std::optional<MigrationOutcome> hand_over();
  std::optional<MigrationOutcome> begin_load();
  MigrationOutcome load();
  MigrationOutcome source_failed(const base::Error& error);
  MigrationOutcome arrival_failed(const base::Error& error);
  MigrationOutcome interrupted();
  MigrationOutcome finish(MigrationResult result, std::string error);

  MigrationContext& context_;
  const Mode& mode_;
  MigrationSettings settings_;
  std::optional<PeerStatus> source_, destination_;
  PhaseFacts phases_;
  bool source_ran_ = false;
  bool keep_file_ = false;
  std::uint64_t migrate_id_ = 0;
  bool migrate_answered_ = false;
  std::optional<base::Error> migrate_error_;
  base::Json source_status_;  // taken before the source went
  base::Clock::time_point began_ = base::Clock::now();
  base::Clock::time_point last_progress_{};
};

}  // namespace migsoak::ops
