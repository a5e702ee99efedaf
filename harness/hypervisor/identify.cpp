// What a QEMU binary says of itself.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "hypervisor/executable.h"
#include "hypervisor/machine.h"

namespace migsoak::hypervisor {
using base::ErrorKind;

namespace {

constexpr std::string_view kVersionPrefix = "QEMU emulator version ";

std::string first_line(const std::string& text) {
  return base::printable(text.substr(0, text.find('\n')), 200);
}

tl::unexpected<base::Error> no_qemu(const std::string& qemu, const std::string& why) {
  return base::fail(ErrorKind::bad_input, fmt::format("'{}' is not a QEMU: {}; expected `--version` to print '{}X.Y.Z'",
                                                      base::printable(qemu), why, kVersionPrefix));
}

}  // namespace

std::string package_of(proc::Reactor& reactor, proc::Containment& containment, const std::string& path,
                       base::Deadline deadline) {
  if (!find_executable("dpkg-query")) return "";
  proc::SpawnSpec search;
  search.name = "dpkg-query";
  search.argv = {"dpkg-query", "-S", path};
  const auto found = proc::run_command(reactor, containment, search, deadline);
  if (!found || !found->status.success()) return "";
  // "qemu-system-x86: /usr/bin/qemu-system-x86_64"; diversions print lines of other shapes.
  const auto colon = found->out.find(": /");
  if (colon == std::string::npos || found->out.find_first_of(" \n") < colon) return "";
  proc::SpawnSpec show;
  show.name = "dpkg-query";
  show.argv = {"dpkg-query", "-W", "-f", "${Package} ${Version}\n", found->out.substr(0, colon)};
  const auto shown = proc::run_command(reactor, containment, show, deadline);
  return shown && shown->status.success() ? first_line(shown->out) : "";
}

base::Result<QemuIdentity> identify_qemu(proc::Reactor& reactor, proc::Containment& containment,
                                         const std::string& qemu, base::Deadline deadline) {
  QemuIdentity identity;
  MIGSOAK_ASSIGN(identity.path, find_executable(qemu), "QEMU");
  proc::SpawnSpec spec;
  spec.name = "qemu --version";
  spec.argv = {identity.path, "--version"};
  const auto own_deadline = base::Deadline::in(std::chrono::seconds(10)).sooner(deadline);
  auto output = proc::run_command(reactor, containment, spec, own_deadline);
  if (!output) {
    if (output.error().kind == ErrorKind::interrupted) return tl::unexpected<base::Error>(output.error());
    if (output.error().kind == ErrorKind::timeout) return no_qemu(qemu, "it did not answer `--version` in time");
    // The file is there and executable, so a failed exec (ENOEXEC, missing interpreter) is the file's fault.
    return no_qemu(qemu, "it can't be run: " + output.error().message);
  }
  identity.full = first_line(output->out);
  if (!output->status.success()) {
    return no_qemu(qemu, fmt::format("`--version` ended with {}{}", proc::to_string(output->status),
                                     identity.full.empty() ? "" : " and said '" + identity.full + "'"));
  }
  // A wrapper script may print something first.
  const auto at = output->out.find(kVersionPrefix);
  if (at == std::string::npos || (at > 0 && output->out[at - 1] != '\n')) {
    return no_qemu(
        qemu, identity.full.empty() ? "`--version` printed nothing" : "`--version` printed '" + identity.full + "'");
  }
  identity.full = first_line(output->out.substr(at));
  const std::string rest = identity.full.substr(kVersionPrefix.size());
  identity.version = rest.substr(0, rest.find_first_not_of("0123456789."));
  if (identity.version.empty()) return no_qemu(qemu, "`--version` printed '" + identity.full + "'");
  identity.package = package_of(reactor, containment, identity.path, deadline);
  return identity;
}

base::Result<void> check_machine_type(proc::Reactor& reactor, proc::Containment& containment, const QemuIdentity& qemu,
                                      const std::string& machine, base::Deadline deadline) {
  proc::SpawnSpec spec;
  spec.name = "qemu -machine help";
  spec.argv = {qemu.path, "-machine", "help"};
  const auto output = proc::run_command(reactor, containment, spec, deadline);
  if (!output || !output->status.success()) return {};
  // "Supported machines are:", then "q35    Standard PC (…) (alias of …)".
  std::vector<std::string> known;
  for (const std::string& line : base::split(output->out, '\n')) {
    const auto space = line.find(' ');
    if (space != std::string::npos && !line.ends_with(':')) known.push_back(line.substr(0, space));
  }
  const std::string type = machine.substr(0, machine.find(','));
  if (known.empty() || std::find(known.begin(), known.end(), type) != known.end()) return {};
  const std::string near = base::nearest_name(type, known);
  return base::fail(ErrorKind::bad_input,
                    fmt::format("QEMU {} has no machine type '{}'{}", qemu.version, base::printable(type),
                                near.empty() ? fmt::format("; `{} -machine help` lists them", qemu.path)
                                             : fmt::format(", did you mean '{}'?", near)));
}

}  // namespace migsoak::hypervisor
