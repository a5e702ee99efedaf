#include <unistd.h>

#include "ops/modes/mode.h"
#include "ops/modes/transport.h"

namespace migsoak::ops {

#define MODE(name, ...) MigrationOutcome run_##name(MigrationContext& context);
#include "ops/modes/modes.def"
#undef MODE

#define TRANSPORT(name) WireResult open_##name(MigrationContext& context);
#include "ops/modes/transports.def"
#undef TRANSPORT

const std::vector<Mode>& modes() {
  static const std::vector<Mode> all = {
#define MODE(name, contract_name, needs, summary, ...) {contract_name, summary, needs, {__VA_ARGS__}, run_##name},
#include "ops/modes/modes.def"
#undef MODE
  };
  return all;
}

const Mode* find_mode(const std::string& name) {
  for (const Mode& mode : modes()) {
    if (mode.name == name) return &mode;
  }
  return nullptr;
}

const std::vector<Transport>& transports() {
  static const std::vector<Transport> all = {
// `unix` is a macro of GNU C++ (a system name); -std=c++20 leaves it alone.
#define TRANSPORT(name) {#name, open_##name},
#include "ops/modes/transports.def"
#undef TRANSPORT
  };
  return all;
}

const Transport* find_transport(const std::string& name) {
  for (const Transport& transport : transports()) {
    if (transport.name == name) return &transport;
  }
  return nullptr;
}

const std::vector<std::string>& transport_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> collected;
    for (const Transport& transport : transports()) collected.push_back(transport.name);
    return collected;
  }();
  return names;
}

std::string to_string(Succession succession) {
  switch (succession) {
    case Succession::beside: return "beside";
    case Succession::waiting: return "waiting";
    case Succession::afterwards: return "afterwards";
    case Succession::in_place: return "in-place";
  }
  return "unknown";
}

std::vector<std::string> cpr_incoming(const std::string& main_socket, const std::string& cpr_socket) {
  const base::Json channel{{"channel-type", "cpr"},
                           {"addr", {{"transport", "socket"}, {"type", "unix"}, {"path", cpr_socket}}}};
  return {"unix:" + main_socket, base::dump_json(channel)};
}

std::string wrong_ram(const Mode& mode, const hypervisor::MachineSpec& source,
                      const hypervisor::MachineSpec& destination) {
  const bool same_file = !source.ram_path.empty() && source.ram_path == destination.ram_path;
  if (!mode.needs.same_ram && same_file)
    return mode.name + " needs RAM of its own at each end: both have " + source.ram_path;
  if (mode.needs.ram_file && !same_file) return mode.name + " needs one RAM file for both ends";
  return "";
}

std::string to_string(MigrationResult result) {
  switch (result) {
    case MigrationResult::completed: return "completed";
    case MigrationResult::failed: return "failed";
    case MigrationResult::source_lost: return "source-lost";
    case MigrationResult::destination_lost: return "destination-lost";
    case MigrationResult::hang: return "hang";
  }
  return "unknown";
}

Wire::~Wire() {
  if (!socket_path.empty()) ::unlink(socket_path.c_str());
}

tl::expected<void, WireError> listen_on(MigrationContext& context, const std::string& uri) {
  auto reply = context.destination->qmp().execute("migrate-incoming", {{"uri", uri}}, context.deadline);
  if (!reply) return tl::unexpected<WireError>({End::destination, std::move(reply.error())});
  return {};
}

}  // namespace migsoak::ops
