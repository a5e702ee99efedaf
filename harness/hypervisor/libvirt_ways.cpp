#include "hypervisor/libvirt_ways.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <libvirt/libvirt.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "base/unique_fd.h"
#include "proc/child_process.h"

namespace migsoak::hypervisor {

const std::vector<LibvirtFlag>& libvirt_flags() {
  static const std::vector<LibvirtFlag> all = {
#define LIBVIRT_FLAG(name, value, libvirt, qemu, needs) {name, value, libvirt, qemu, needs},
#include "hypervisor/libvirt_flags.def"
#undef LIBVIRT_FLAG
  };
  return all;
}

const LibvirtFlag* find_libvirt_flag(const std::string& name) {
  for (const LibvirtFlag& flag : libvirt_flags()) {
    if (flag.name == name) return &flag;
  }
  return nullptr;
}

std::vector<std::string> libvirt_flag_names() {
  std::vector<std::string> names;
  for (const LibvirtFlag& flag : libvirt_flags()) names.push_back(flag.name);
  return names;
}

std::string libvirt_conflict(const std::string& transport, const record::LibvirtWay& way) {
  const auto has = [&](const std::string& flag) {
    return std::find(way.flags.begin(), way.flags.end(), flag) != way.flags.end();
  };
  const bool tunnelled = transport == kTunnelled;
  if (tunnelled && way.managed != kPeerToPeer) {
    return fmt::format("\"tunnelled\" goes from daemon to daemon, so it needs managed = \"{}\"", kPeerToPeer);
  }
  if (transport == kSaved && !way.flags.empty()) {
    return fmt::format("\"{}\" is no live migration: it takes no flag such as \"{}\"", kSaved, way.flags.front());
  }
  for (const std::string& name : way.flags) {
    const LibvirtFlag* flag = find_libvirt_flag(name);
    if (flag != nullptr && !flag->needs.empty() && !has(flag->needs)) {
      return fmt::format("\"{}\" needs the flag \"{}\"", name, flag->needs);
    }
  }
  if (has("parallel") && tunnelled) return "\"parallel\" does not go with \"tunnelled\", which is one stream";
  if (has("tls") && tunnelled) return "\"tls\" does not go with \"tunnelled\", whose stream is the daemons'";
  if (has("zerocopy") && has("tls")) return "\"zerocopy\" does not go with \"tls\", which copies to encrypt";
  if (has("postcopy") && tunnelled) return "\"postcopy\" does not go with \"tunnelled\", which is one way";
  // Not before QEMU 10.1.
  if (has("postcopy") && has("parallel")) return "\"postcopy\" does not go with \"parallel\"";
  // QEMU does not apply xbzrle, which is what libvirt takes for it, to parallel streams.
  if (has("parallel") && has("compressed")) return "\"parallel\" does not go with \"compressed\"";
  // The kernel has it for TCP alone (MSG_ZEROCOPY).
  if (has("zerocopy") && transport != "tcp") return "\"zerocopy\" needs transport \"tcp\"";
  return "";
}

base::Result<void> check_userfaultfd() {
  const base::UniqueFd fd(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)));
  if (fd.valid()) return {};
  return base::fail(base::ErrorKind::bad_input,
                    fmt::format("QEMU needs userfaultfd(2) for it, which is not allowed here ({}): run as root, or "
                                "sysctl vm.unprivileged_userfaultfd=1",
                                std::strerror(errno)));
}

base::Result<void> check_locked_memory(proc::Reactor& reactor, proc::Containment& containment, std::uint64_t bytes,
                                       base::Deadline deadline) {
  proc::SpawnSpec spec;
  spec.name = "prlimit";
  spec.argv = {"prlimit", fmt::format("--memlock={0}:{0}", bytes), "true"};
  MIGSOAK_ASSIGN(const proc::CommandOutput output, proc::run_command(reactor, containment, spec, deadline));
  if (output.status.success()) return {};
  return base::fail(
      base::ErrorKind::bad_input,
      fmt::format("libvirt locks the guest's memory for it, and this host does not allow that ({}); raise the limit "
                  "(ulimit -H -l)",
                  base::printable(output.out.substr(0, output.out.find('\n')), 200)));
}

}  // namespace migsoak::hypervisor
