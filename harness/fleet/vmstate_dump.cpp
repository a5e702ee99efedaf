#include "fleet/vmstate_dump.h"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

namespace migsoak::fleet {

base::Result<VmstateDump> VmstateDump::begin(const Host& host, const Build& build, const std::string& machine,
                                             const std::string& path) {
  VmstateDump dump;
  dump.path_ = path;
  proc::SpawnSpec spec;
  spec.name = "qemu -dump-vmstate";
  spec.argv = {build.binary};
  spec.argv.insert(spec.argv.end(), build.args.begin(), build.args.end());
  spec.argv.insert(spec.argv.end(), {"-nodefaults", "-no-user-config", "-display", "none", "-machine", machine,
                                     "-dump-vmstate", dump.path_});
  spec.env = build.env;
  MIGSOAK_ASSIGN(dump.child_, proc::ChildProcess::spawn(host.reactor, host.containment, std::move(spec)));
  return dump;
}

base::Result<base::Json> VmstateDump::finish(base::Deadline deadline) {
  MIGSOAK_ASSIGN(const auto status, child_->wait_exit(deadline), "-dump-vmstate");
  if (!status.success()) {
    const auto lines = child_->last_lines();
    return base::fail(base::ErrorKind::subject, fmt::format("-dump-vmstate ended with {}{}", proc::to_string(status),
                                                            lines.empty() ? "" : ": " + lines.back()));
  }
  std::ifstream file(path_, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  ::unlink(path_.c_str());
  return base::parse_json(text);
}

}  // namespace migsoak::fleet
