#include "ops/modes/end_settings.h"

#include <cstdlib>
#include <utility>

#include "base/json.h"

namespace migsoak::ops {

namespace {

// The parameter `mode` came in QEMU 8.2. An unknown version is taken for an older one (MachineSpec::version).
bool has_mode_parameter(const std::string& version) {
  char* rest = nullptr;
  const long major = std::strtol(version.c_str(), &rest, 10);
  const long minor = *rest == '.' ? std::strtol(rest + 1, nullptr, 10) : 0;
  return major > 8 || (major == 8 && minor >= 2);
}

}  // namespace

SentSettings::SentSettings(hypervisor::Machine& machine, const EndSettings& settings) : machine_(machine) {
  qmp::Client& client = machine.qmp();
  const base::Json shared{{"capability", "x-ignore-shared"}, {"state", settings.ignore_shared}};
  ids_.push_back(client.send("migrate-set-capabilities", {{"capabilities", base::Json::array({shared})}}));
  if (settings.mode == "normal" && !has_mode_parameter(machine.spec().version)) return;
  base::Json parameters{{"mode", settings.mode}};
  if (!settings.exec_command.empty()) parameters["cpr-exec-command"] = settings.exec_command;
  ids_.push_back(client.send("migrate-set-parameters", parameters));
}

base::Result<void> SentSettings::confirm(base::Deadline deadline) {
  base::Result<void> result;
  for (const auto id : std::exchange(ids_, {})) {
    auto reply = machine_.qmp().take_reply(id, deadline);
    if (!reply && result) result = tl::unexpected<base::Error>(std::move(reply.error()));
  }
  return result;
}

}  // namespace migsoak::ops
