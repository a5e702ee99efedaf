#include "engine/settle.h"

#include <set>

#include "proc/proc_fs.h"

namespace migsoak::engine {

namespace {

constexpr int kEqualLooks = 3;
constexpr std::chrono::milliseconds kLookEvery{2};
// A target that keeps hung-up sockets for good (a leak) must not cost the whole deadline at every quiet point.
constexpr std::chrono::milliseconds kHungUpGrace{150};

struct Connections {
  int hung_up = 0;
  std::vector<std::string> targets_without_guest;
  std::vector<SettleReport::Unread> unread;
};

Connections look_at_connections(Lineage& lineage) {
  Connections seen;
  const Vm* current = lineage.current();
  if (current == nullptr) return seen;
  const auto sockets = proc::read_unix_sockets();
  if (!sockets) {
    seen.unread.push_back({"host", 0, sockets.error().describe()});
    return seen;
  }
  const auto of_qemu = proc::read_fds(current->machine->qemu_pid());
  if (!of_qemu) seen.unread.push_back({current->name, current->process_id, of_qemu.error().describe()});
  std::set<std::uint64_t> of_guest;
  for (const proc::FdEntry& entry : of_qemu.value_or(std::vector<proc::FdEntry>{})) {
    if (entry.inode != 0) of_guest.insert(entry.inode);
  }
  for (const TargetInstance* instance : lineage.targets().live()) {
    const auto of_target = proc::read_fds(instance->target->pid());
    if (!of_target) {
      seen.unread.push_back({instance->name, instance->process_id, of_target.error().describe()});
      continue;
    }
    bool connected = false;
    for (const proc::FdEntry& entry : *of_target) {
      const auto socket = sockets->find(entry.inode);
      if (entry.inode == 0 || socket == sockets->end()) continue;
      if (socket->second.peer_inode == 0 && !socket->second.listening) ++seen.hung_up;
      connected = connected || of_guest.contains(socket->second.peer_inode);
    }
    const bool serves_guest = instance->serves(current->machine->spec().side, current->slot);
    if (of_qemu && !connected && serves_guest) seen.targets_without_guest.push_back(instance->name);
  }
  return seen;
}

}  // namespace

SettleReport wait_quiet(Lineage& lineage, int hung_up_before, base::Deadline deadline) {
  SettleReport report;
  const auto began = base::Clock::now();
  const base::Deadline grace = base::Deadline::in(kHungUpGrace);
  const probes::Scene scene = lineage.scene();
  std::uint64_t last = 0;
  int equal = 0;
  Connections connections;
  const auto quiet = [&] {
    const std::uint64_t now = probes::settle_signature(scene);
    equal = now == last ? equal + 1 : 1;
    last = now;
    if (equal < kEqualLooks) return false;
    connections = look_at_connections(lineage);
    return connections.hung_up <= hung_up_before || grace.passed();
  };
  const proc::Wait wait = lineage.context().reactor.run_until(quiet, deadline, kLookEvery);
  report.settled = wait == proc::Wait::ready;
  report.interrupted = wait == proc::Wait::interrupted;
  report.took_ms = base::milliseconds_between(began, base::Clock::now());
  report.hung_up_sockets = connections.hung_up;
  report.targets_without_guest = std::move(connections.targets_without_guest);
  report.unread = std::move(connections.unread);
  return report;
}

}  // namespace migsoak::engine
