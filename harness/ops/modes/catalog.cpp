#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "ops/modes/mode.h"
#include "ops/modes/transport.h"

namespace migsoak::ops {

namespace {

// By what they are, not how they are written: a link leads to the same RAM. A file that is not there yet is the one of
// its path.
bool same_file(const std::string& one, const std::string& other) {
  if (one == other) return true;
  struct stat first {
  }, second{};
  return ::stat(one.c_str(), &first) == 0 && ::stat(other.c_str(), &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

std::string ram_of(const hypervisor::MachineSpec& spec) {
  return spec.ram_path.empty() ? "a memfd of its own" : base::printable(spec.ram_path);
}

}  // namespace

#define MODE(name, ...) MigrationOutcome run_##name(MigrationContext& context);
#include "ops/modes/modes.def"
#undef MODE

#define DRIVER_MODE(name, ...) MigrationOutcome run_##name(MigrationContext& context);
#include "ops/modes/driver_modes.def"
#undef DRIVER_MODE

#define TRANSPORT(name) ChannelResult open_##name(MigrationContext& context);
#include "ops/modes/transports.def"
#undef TRANSPORT

const std::vector<Mode>& driver_modes() {
  static const std::vector<Mode> all = {
#define DRIVER_MODE(name, driver, contract_name, needs, summary, ...) \
  {contract_name, summary, needs, {__VA_ARGS__}, run_##name, driver},
#include "ops/modes/driver_modes.def"
#undef DRIVER_MODE
  };
  return all;
}

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

const Mode* find_mode(const std::string& name, const std::string& driver) {
  if (driver == "direct") return find_mode(name);
  for (const Mode& mode : driver_modes()) {
    if (mode.name == name && mode.driver == driver) return &mode;
  }
  return nullptr;
}

std::vector<std::string> mode_names(const std::string& driver) {
  std::vector<std::string> names;
  for (const std::vector<Mode>* all : {&modes(), &driver_modes()}) {
    for (const Mode& mode : *all) {
      if (mode.driver == driver) names.push_back(mode.name);
    }
  }
  return names;
}

bool runs_beside(const std::string& mode) {
  const Mode* found = find_mode(mode);
  return found != nullptr && found->needs.process_order == ProcessOrder::beside;
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

std::string to_string(ProcessOrder order) {
  switch (order) {
    case ProcessOrder::beside: return "beside";
    case ProcessOrder::waiting: return "waiting";
    case ProcessOrder::afterwards: return "afterwards";
    case ProcessOrder::in_place: return "in-place";
    case ProcessOrder::within: return "within";
  }
  return "unknown";
}

base::Json unix_channel(const char* type, const std::string& path) {
  return {{"channel-type", type}, {"addr", {{"transport", "socket"}, {"type", "unix"}, {"path", path}}}};
}

std::vector<std::string> cpr_incoming(const std::string& main_socket, const std::string& cpr_socket) {
  return {"unix:" + main_socket, base::dump_json(unix_channel("cpr", cpr_socket))};
}

base::Result<void> check_ram_sharing(const Mode& mode, const hypervisor::MachineSpec& source,
                                     const hypervisor::MachineSpec& destination) {
  const ModeNeeds& needs = mode.needs;
  const auto wrong = [](std::string why) { return base::fail(base::ErrorKind::bad_input, std::move(why)); };
  if (needs.aux_ram_share && !(source.aux_ram_share && destination.aux_ram_share)) {
    return wrong(mode.name + " needs aux-ram-share=on at both ends");
  }
  if (needs.ram_file && (source.ram_path.empty() || destination.ram_path.empty())) {
    return wrong(mode.name + " needs RAM in a file at both ends");
  }
  if (needs.same_ram) {
    if (source.memory_bytes != destination.memory_bytes ||
        source.memory_extra_bytes != destination.memory_extra_bytes) {
      return wrong(mode.name + " needs RAM of one size at both ends");
    }
    if (source.ram_path.empty() && destination.ram_path.empty()) return {};  // handed over as a descriptor
    if (same_file(source.ram_path, destination.ram_path)) return {};
    return wrong(fmt::format("{} needs the same RAM at both ends: one has {}, the other {}", mode.name, ram_of(source),
                             ram_of(destination)));
  }
  if (!source.ram_path.empty() && same_file(source.ram_path, destination.ram_path)) {
    return wrong(mode.name + " needs RAM of its own at each end: both have " + base::printable(source.ram_path));
  }
  return {};
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

OpenChannel::~OpenChannel() {
  if (!socket_path.empty()) ::unlink(socket_path.c_str());
}

tl::expected<void, ChannelError> listen_on(MigrationContext& context, const std::string& uri) {
  auto reply = context.destination->qmp().execute("migrate-incoming", {{"uri", uri}}, context.deadline);
  if (!reply) return tl::unexpected<ChannelError>({End::destination, std::move(reply.error())});
  return {};
}

}  // namespace migsoak::ops
