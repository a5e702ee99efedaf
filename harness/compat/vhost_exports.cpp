#include "compat/vhost_exports.h"

#include <utility>

namespace migsoak::compat {

namespace {

std::string slot_of(Side side) {
  return side == Side::from ? "s" : "d";
}

}  // namespace

VhostSockets VhostExports::sockets(Side side) const {
  VhostSockets sockets;
  for (const target::ServedDevice& disk : daemon_->spec().devices) {
    sockets.emplace(disk.id, daemon_->connect(disk.id, slot_of(side)).socket);
  }
  return sockets;
}

base::Result<std::unique_ptr<VhostExports>> VhostExports::start(CompatHost& lab, const fleet::Build& build,
                                                                const Layout& layout, base::Deadline deadline) {
  target::TargetSpec spec;
  spec.name = lab.next_name();
  spec.process = "qemu-storage-daemon";
  spec.binary = build.program("qemu-storage-daemon");
  spec.env = build.env;
  spec.slots = {slot_of(Side::from), slot_of(Side::to)};
  spec.run_dir = lab.run_dir;
  for (const PlacedDevice& device : layout.devices()) {
    if (!needs_vhost_export(device.device.driver)) continue;
    spec.devices.push_back({device.id(), "", 1, target::EndpointType::block});
  }
  std::unique_ptr<VhostExports> exports(new VhostExports);
  auto started = target::start_target(lab.reactor, lab.containment, std::move(spec));
  if (!started) {
    // Outermost stands the target's name, which nobody has given.
    if (!started.error().context.empty()) started.error().context.pop_back();
    return tl::unexpected(std::move(started.error()));
  }
  exports->daemon_ = std::move(*started);
  const auto ready = exports->daemon_->wait_ready(deadline);
  if (ready) return exports;
  if (ready.error().kind == base::ErrorKind::interrupted) return tl::unexpected<base::Error>(ready.error());
  if (ready.error().kind == base::ErrorKind::timeout) {
    return base::fail(base::ErrorKind::subject, "qemu-storage-daemon did not come up in time");
  }
  const auto lines = exports->daemon_->child().last_lines();
  return base::fail(base::ErrorKind::subject,
                    "qemu-storage-daemon: " + (lines.empty() ? std::string("it said nothing") : lines.back()));
}

}  // namespace migsoak::compat
