// cpr-reboot: the source saves its devices' state to a file and quits; a new QEMU on the same RAM file loads it
// (docs/devel/migration/CPR.rst, "cpr-reboot mode"; QEMU 8.2). Made for rebooting the host in between, if RAM survives
// that. x-ignore-shared keeps RAM out of the state file.
#include "ops/modes/saved_migration.h"

namespace migsoak::ops {

MigrationOutcome run_cpr_reboot(MigrationContext& context) {
  MigrationSettings settings;
  settings.mode = "cpr-reboot";
  settings.ignore_shared = true;
  return SavedMigration(context, *find_mode("cpr-reboot"), std::move(settings)).run();
}

}  // namespace migsoak::ops
