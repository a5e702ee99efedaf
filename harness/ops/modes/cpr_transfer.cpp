// cpr-transfer: the source hands its descriptors, guest RAM among them, to a destination that was started before and
// waits on its cpr channel; the state of the devices follows on the main channel (docs/devel/migration/CPR.rst,
// "cpr-transfer mode"; QEMU 10.0). The destination's machine is made from those descriptors, so its QMP answers only
// then. The source stays, in postmigrate.
#include "ops/modes/live_migration.h"

namespace migsoak::ops {

MigrationOutcome run_cpr_transfer(MigrationContext& context) {
  MigrationSettings settings;
  settings.mode = "cpr-transfer";
  return LiveMigration(context, *find_mode("cpr-transfer"), std::move(settings)).run();
}

}  // namespace migsoak::ops
