// The catalog of target kinds, expanded from targets.def.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "target/listening_target.h"

namespace migsoak::target {

#define TARGET(name, function, summary) base::Result<CommandLine> function(const TargetSpec&);
#include "target/targets.def"
#undef TARGET

const std::vector<TargetKind>& target_kinds() {
  static const std::vector<TargetKind> kinds = {
#define TARGET(name, function, summary) {name, summary, function},
#include "target/targets.def"
#undef TARGET
  };
  return kinds;
}

namespace {

base::Result<CommandLine> command_line_of(const TargetSpec& spec) {
  const auto& kinds = target_kinds();
  const auto kind = std::find_if(kinds.begin(), kinds.end(), [&](const TargetKind& k) { return k.name == spec.kind; });
  if (kind == kinds.end()) {
    std::vector<std::string> names;
    for (const TargetKind& known : kinds) names.push_back(known.name);
    const std::string nearest = base::nearest_name(spec.kind, names);
    return base::fail(base::ErrorKind::bad_input,
                      fmt::format("target '{}': unknown kind '{}'{}", spec.name, base::printable(spec.kind, 60),
                                  nearest.empty() ? "" : fmt::format(" (did you mean '{}'?)", nearest)));
  }
  auto command = kind->command_line(spec);
  if (!command) return tl::unexpected(std::move(command.error()).with_context("target '" + spec.name + "'"));
  return command;
}

}  // namespace

base::Result<std::vector<std::string>> command_line(const TargetSpec& spec) {
  MIGSOAK_ASSIGN(CommandLine command, command_line_of(spec));
  std::vector<std::string> argv = spec.wrapper;
  argv.insert(argv.end(), command.argv.begin(), command.argv.end());
  return argv;
}

base::Result<void> check_target(const TargetSpec& spec) {
  const auto command = command_line_of(spec);
  if (command || command.error().kind != base::ErrorKind::bad_input) return {};
  return tl::unexpected(command.error());
}

base::Result<std::unique_ptr<Target>> start_target(proc::Reactor& reactor, proc::Containment& containment,
                                                   TargetSpec spec) {
  for (const Disk& disk : spec.disks) {
    struct stat image {};
    if (::stat(disk.image.c_str(), &image) == 0) continue;
    const int error = errno;
    return base::fail(base::ErrorKind::bad_input, fmt::format("target '{}': image {}: {}", spec.name,
                                                              base::printable(disk.image), strerror(error)));
  }
  MIGSOAK_ASSIGN(CommandLine command, command_line_of(spec));
  const std::string name = spec.name;
  auto target = ListeningTarget::start(reactor, containment, std::move(spec), std::move(command));
  if (!target) return tl::unexpected(std::move(target.error()).with_context("target '" + name + "'"));
  return target;
}

}  // namespace migsoak::target
