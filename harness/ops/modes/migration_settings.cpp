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
  sent_.capabilities = {{"x-ignore-shared", settings.ignore_shared}};
  base::Json list = base::Json::array();
  for (const auto& [name, state] : sent_.capabilities.items()) list.push_back({{"capability", name}, {"state", state}});
  ids_.push_back(client.send("migrate-set-capabilities", {{"capabilities", std::move(list)}}));
  // An unknown version is taken for an older one (MachineSpec::version).
  if (settings.mode == "normal" && base::older_version(machine.spec().version, kModeParameterSince)) return;
  if (settings.execs) {
    if (const auto sent = machine.send_exec()) ids_.push_back(*sent);
  }
  sent_.parameters = {{"mode", settings.mode}};
  ids_.push_back(client.send("migrate-set-parameters", sent_.parameters));
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
