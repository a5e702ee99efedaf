#include "compat/vhost_exports.h"

#include <fmt/format.h>
#include <unistd.h>

#include "proc/run_dir.h"

namespace migsoak::compat {

namespace {
// Nobody tells that a socket has appeared.
constexpr auto kLookEvery = std::chrono::milliseconds(3);
}  // namespace

std::string VhostExports::socket_stem(Side side) const {
  return stem_ + (side == Side::from ? "s" : "d");
}

VhostExports::~VhostExports() {
  child_.reset();
  for (const std::string& path : sockets_) ::unlink(path.c_str());
}

base::Result<std::unique_ptr<VhostExports>> VhostExports::start(CompatHost& lab, const fleet::Build& build,
                                                                const Layout& layout, base::Deadline deadline) {
  std::unique_ptr<VhostExports> exports(new VhostExports);
  exports->stem_ = fmt::format("{}/{}{}", lab.run_dir, lab.name, lab.spawned++);
  const std::string program = build.program("qemu-storage-daemon");
  proc::SpawnSpec spec;
  spec.name = "qemu-storage-daemon";
  spec.argv = {program.empty() ? "qemu-storage-daemon" : program};
  spec.env = build.env;
  for (const PlacedDevice& device : layout.devices()) {
    if (!needs_vhost_export(device.device.driver)) continue;
    for (const Side side : {Side::from, Side::to}) {
      const std::string path = fmt::format("{}{}", exports->socket_stem(side), device.index);
      MIGSOAK_TRY(proc::check_socket_path(path));
      const std::string node = fmt::format("{}{}", side == Side::from ? "s" : "d", device.index);
      spec.argv.insert(
          spec.argv.end(),
          {"--blockdev", "null-co,read-zeroes=on,node-name=" + node, "--export",
           fmt::format("vhost-user-blk,id=e{0},node-name={0},writable=on,addr.type=unix,addr.path={1}", node, path)});
      exports->sockets_.push_back(path);
    }
  }
  // Arguments are taken in order: once the last one's socket is there, all exports are.
  const std::string last = exports->stem_ + "m";
  spec.argv.insert(spec.argv.end(), {"--chardev", fmt::format("socket,id=m,path={},server=on,wait=off", last)});
  exports->sockets_.push_back(last);
  MIGSOAK_ASSIGN(exports->child_, proc::ChildProcess::spawn(lab.reactor, lab.containment, std::move(spec)));
  const auto waited = lab.reactor.run_until(
      [&] { return exports->child_->exited() || ::access(last.c_str(), F_OK) == 0; }, deadline, kLookEvery);
  if (waited == proc::Wait::interrupted) return base::fail(base::ErrorKind::interrupted, "interrupted");
  if (waited == proc::Wait::timeout) {
    return base::fail(base::ErrorKind::subject, "qemu-storage-daemon did not come up in time");
  }
  if (!exports->child_->exited()) return exports;
  const auto lines = exports->child_->last_lines();
  return base::fail(base::ErrorKind::subject,
                    "qemu-storage-daemon: " + (lines.empty() ? std::string("it said nothing") : lines.back()));
}

}  // namespace migsoak::compat
