// cpr-exec: the source saves its devices' state to a file and execs a new QEMU in its own process, which keeps the
// descriptors of guest RAM and loads the state (docs/devel/migration/CPR.rst, "cpr-exec mode"; QEMU 11.1). When the
// exec itself fails, the old image says so ("failed" after "completed") and resumes the guest.
#include "ops/modes/saved_migration.h"

namespace migsoak::ops {

MigrationOutcome run_cpr_exec(MigrationContext& context) {
  MigrationSettings settings;
  settings.mode = "cpr-exec";
  settings.execs = true;
  return SavedMigration(context, *find_mode("cpr-exec"), std::move(settings)).run();
}

}  // namespace migsoak::ops
