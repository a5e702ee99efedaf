// precopy: the classic live migration. The source sends RAM while the guest runs, stops it, sends the rest; the
// destination resumes it. Until that moment the source can always take the guest back.
#include "ops/modes/live_migration.h"

namespace migsoak::ops {

MigrationOutcome run_precopy(MigrationContext& context) {
  return LiveMigration(context, *find_mode("precopy"), MigrationSettings{}).run();
}

}  // namespace migsoak::ops
