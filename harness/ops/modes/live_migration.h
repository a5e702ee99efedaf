// LiveMigration: a migration between two processes that live at the same time, from the settings of both ends to the
// outcome. Until the destination runs the guest the source can always take it back. Internal to ops/modes, shared by
// precopy, local and cpr-transfer.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "ops/modes/migration_settings.h"
#include "ops/modes/mode.h"
#include "ops/modes/peer_status.h"
#include "ops/modes/phase_facts.h"
#include "ops/modes/transport.h"

namespace migsoak::ops {

class LiveMigration {
 public:
  // ProcessOrder::beside: over the context's transport, which must be one of `mode`'s. ProcessOrder::waiting: over the
  // context's two sockets, with listener.raise().
  LiveMigration(MigrationContext& context, const Mode& mode, MigrationSettings settings);
  MigrationOutcome run();

 private:
  bool waiting() const { return mode_.needs.process_order == ProcessOrder::waiting; }
  // It has ended, or no longer answers though it has.
  bool destination_gone() const;
  bool settled();
  void progress();
  std::optional<MigrationOutcome> set_up();
  std::optional<MigrationOutcome> open_channel(base::Json& arguments);
  std::optional<MigrationOutcome> wait_listening();
  proc::Wait wait_settled();
  MigrationOutcome conclude(proc::Wait waited);
  MigrationOutcome conclude_source_lost();
  MigrationOutcome conclude_failed();
  MigrationOutcome conclude_hang();
  MigrationOutcome channel_failed(const ChannelError& error);
  MigrationOutcome interrupted();
  MigrationOutcome finish(MigrationResult result, std::string error);
  void wait_for_other_end(const std::function<bool()>& predicate);
  bool refused() const { return migrate_error_.has_value(); }

  MigrationContext& context_;
  const Mode& mode_;
  MigrationSettings settings_;
  PeerStatus source_, destination_;
  PhaseFacts phases_;
  std::unique_ptr<OpenChannel> channel_;
  bool source_ran_ = false;
  bool raised_ = false;
  std::optional<base::Error> raise_error_;
  std::uint64_t migrate_id_ = 0;
  bool migrate_answered_ = false;
  std::optional<base::Error> migrate_error_;
  base::Clock::time_point began_ = base::Clock::now();
  base::Clock::time_point last_progress_{};
};

}  // namespace migsoak::ops
