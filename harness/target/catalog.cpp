// The catalog of target kinds, expanded from targets.def.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "target/target.h"

namespace migsoak::target {

#define TARGET(name, function, summary) \
  base::Result<std::unique_ptr<Target>> function(proc::Reactor&, proc::Containment&, TargetSpec);
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

base::Result<std::unique_ptr<Target>> start_target(proc::Reactor& reactor, proc::Containment& containment,
                                                   TargetSpec spec) {
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
  for (const Disk& disk : spec.disks) {
    struct stat image {};
    if (::stat(disk.image.c_str(), &image) == 0) continue;
    const int error = errno;
    return base::fail(base::ErrorKind::bad_input, fmt::format("target '{}': image {}: {}", spec.name,
                                                              base::printable(disk.image), strerror(error)));
  }
  const std::string name = spec.name;
  auto target = kind->start(reactor, containment, std::move(spec));
  if (!target) return tl::unexpected(std::move(target.error()).with_context("target '" + name + "'"));
  return target;
}

}  // namespace migsoak::target
