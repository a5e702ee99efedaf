// local: a live migration on one host between two QEMUs that map one RAM file. The capability x-ignore-shared leaves
// such RAM out of the stream (docs/devel/migration/features, qapi/migration.json; QEMU 4.0), so only devices are sent.
#include "ops/modes/live_migration.h"

namespace migsoak::ops {

MigrationOutcome run_local(MigrationContext& context) {
  MigrationSettings settings;
  settings.ignore_shared = true;
  return LiveMigration(context, *find_mode("local"), std::move(settings)).run();
}

}  // namespace migsoak::ops
