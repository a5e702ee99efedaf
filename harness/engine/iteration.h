// One iteration: raise the destination, migrate, verify the guest, tear the source down, wait for the quiet point,
// sample. Everything the subject does wrong becomes an event in the observation; the status tells how far it got.
#pragma once

#include <functional>
#include <optional>

#include "engine/lineage.h"
#include "engine/operations.h"
#include "engine/reads.h"
#include "engine/restarts.h"
#include "engine/upgrade_attempt.h"
#include "ops/modes/mode.h"

namespace migsoak::engine {

class IterationRunner {
 public:
  // `next_side`: the side on which the next destination may be raised early; empty: none follows.
  IterationRunner(Lineage& lineage, record::Observation& into, std::string next_side);

  // Boots the guest (first iteration of a lineage).
  bool boot();
  // The migration and all that belongs to it. False: the lineage can't go on (status lost or unknown), or interrupted.
  bool run();
  bool interrupted() const { return interrupted_; }

 private:
  bool attempt_upgrade();  // upgrade_attempt.cpp
  bool spawn_destination();
  bool spawn_destination_with(const hypervisor::DeviceSet& devices);
  bool raise_destination();
  bool run_operations();
  bool begin_operations();
  bool match_destination();
  bool conclude_operations(Player* player);
  void record_device_set(const Player& player, const char* point);
  void begin_reading(Player* player, hypervisor::ReadPoint point, bool running);
  void finish_reading(hypervisor::ReadPoint point);
  bool look_by_guest();
  // The device tree of the QEMU in which the guest is: sent, and taken (iteration_tree.cpp). Always true.
  bool look_at_plugged();
  bool begin_tree(Player* player, const char* point);
  bool finish_tree();
  // And of the one that waits for it.
  void begin_waiting_tree();
  void finish_waiting_tree();
  std::optional<hypervisor::DeviceTreeReading> send_for_tree(Player& player, const char* point);
  void take_tree(const hypervisor::DeviceTreeReading& reading);
  void retire_unused();
  bool settle_disks();
  base::Result<void> ask_to_settle();
  bool restart_targets(const char* timing);
  bool restart_before();
  void restart_during();
  base::Result<void> wait_under_way();
  bool restart_after();
  bool end_by_declared_restart();
  bool verify_again();
  bool disks_live_on();
  bool hold_migration();
  bool give_up_restart(const base::Error& error);
  bool migrate();
  bool starts_before() const;
  ops::MigrationContext migration_context(PreparedPlayer& prepared);
  base::Result<hypervisor::Machine*> raise(PreparedPlayer& prepared, base::Deadline deadline);
  base::Result<void> release_source();
  bool conclude_migration(const ops::MigrationOutcome& outcome);
  bool settle_declared(const ops::MigrationOutcome& outcome);
  void note_declared(const std::string& result, const std::string& error);
  bool lose_as_declared(const std::string& result, const std::string& error);
  void look_before_end(const Player& player);
  bool settle_failed_migration(const ops::MigrationOutcome& outcome);
  void clear_destination(const ops::MigrationOutcome& outcome);
  bool stay_on_source();
  static base::Error as_subjects(base::Error error, bool has_wrapper);
  void ask_source_to_quit();
  bool switch_over();
  bool finish_verify();
  bool retire_source();
  bool quiet_point();

  void begin_raising_next();
  bool finish_raising_next();
  void record_disk(const guest::DiskReport& disk);
  void record_verification(const guest::VerifyReport& report);
  void record_outcome(const ops::MigrationOutcome& outcome);
  void sample(const std::string& subject, std::int64_t process_id, const std::string& metric, double value);
  void sample_peaks();

  record::Event& add_event(const char* kind, const std::string& subject, std::int64_t process_id,
                           const std::string& text);
  // An Error of the harness's own making, or of a subject: recorded, status set, returns false.
  bool give_up(const std::string& subject, std::int64_t process_id, const base::Error& error,
               const std::string& waiting_for);
  bool lose_guest(const std::string& why);
  // Stops here when the user asked for it, or a process ended unasked that the guest can't do without.
  bool still_whole();
  void phase(const char* name);
  double at_ms() const;

  Lineage& lineage_;
  const LaneContext& context_;
  record::Observation& into_;
  std::string next_side_;
  const ops::Mode* mode_;  // of the plan
  OperationRunner operations_;
  RestartRunner restarts_;
  Reads reads_;
  std::unique_ptr<UpgradeAttempt> attempt_;
  base::Result<void> during_;        // what came of restarts while the migration ran
  std::int64_t full_bandwidth_ = 0;  // of the source, before the migration was held for them
  // Config space and virtqueues of both ends, being read while other things go on.
  std::unique_ptr<hypervisor::ConfigReading> source_reading_, destination_reading_;
  std::optional<hypervisor::DeviceTreeReading> tree_reading_, waiting_tree_;
  base::Clock::time_point quit_began_;
  Player* source_ = nullptr;
  Player* destination_ = nullptr;
  Player* next_ = nullptr;
  bool interrupted_ = false;
  std::map<std::int64_t, int> peaks_;  // process id -> descriptors
};

}  // namespace migsoak::engine
