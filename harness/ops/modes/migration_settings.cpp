#include "ops/modes/migration_settings.h"

#include <utility>

#include "base/json.h"
#include "base/version.h"

namespace migsoak::ops {

namespace {
constexpr const char* kModeParameterSince = "8.2";
}

PendingSettings::PendingSettings(hypervisor::Machine& machine, const MigrationSettings& settings) : machine_(machine) {
  qmp::Monitor& client = machine.qmp();
  const base::Json shared{{"capability", "x-ignore-shared"}, {"state", settings.ignore_shared}};
  ids_.push_back(client.send("migrate-set-capabilities", {{"capabilities", base::Json::array({shared})}}));
  // An unknown version is taken for an older one (MachineSpec::version).
  if (settings.mode == "normal" && base::older_version(machine.spec().version, kModeParameterSince)) return;
  if (settings.execs) {
    if (const auto sent = machine.send_exec()) ids_.push_back(*sent);
  }
  ids_.push_back(client.send("migrate-set-parameters", {{"mode", settings.mode}}));
}

base::Result<void> PendingSettings::confirm(base::Deadline deadline) {
  base::Result<void> result;
  for (const auto id : std::exchange(ids_, {})) {
    auto reply = machine_.qmp().take_reply(id, deadline);
    if (!reply && result) result = tl::unexpected<base::Error>(std::move(reply.error()));
  }
  return result;
}

}  // namespace migsoak::ops
