#include "engine/hang_diagnosis.h"

#include <fmt/format.h>

#include <array>
#include <fstream>
#include <vector>

#include "base/text.h"
#include "proc/proc_fs.h"

namespace migsoak::engine {

namespace {

std::string wait_channel(pid_t pid) {
  std::ifstream in(fmt::format("/proc/{}/wchan", pid));
  std::string name;
  std::getline(in, name);
  return base::printable(name, 60);
}

bool in_event_loop(const std::string& channel) {
  // "0": running, or the kernel hides it. What poll, ppoll, select and epoll_wait sleep in.
  static constexpr std::array<const char*, 6> kLoops = {
      "0", "", "ep_poll", "do_epoll_wait", "do_sys_poll", "poll_schedule_timeout"};
  for (const char* loop : kLoops) {
    if (channel == loop || (*loop != '\0' && *loop != '0' && channel.starts_with(loop))) return true;
  }
  return false;
}

bool stopped(pid_t pid) {
  const auto stat = proc::read_stat(pid);
  return stat && (stat->state == 'T' || stat->state == 't');
}

// Several looks: a thread in the middle of a request sleeps elsewhere for a moment.
bool outside_event_loop(Lineage& lineage, pid_t pid) {
  int looks = 0;
  bool seen_in_loop = false;
  (void)lineage.context().reactor.run_until(
      [&] {
        seen_in_loop = seen_in_loop || in_event_loop(wait_channel(pid));
        return seen_in_loop || ++looks >= 8;
      },
      base::Deadline::in(std::chrono::seconds(2)), std::chrono::milliseconds(25));
  return !seen_in_loop;
}

// One that has closed its monitor is most often about to end: that is learnt a little later, and explains more.
bool qmp_silent(Lineage& lineage, Vm& vm) {
  if (!vm.machine->qmp().connected()) {
    (void)lineage.context().reactor.run_until([&] { return !vm.machine->alive(); },
                                              base::Deadline::in(std::chrono::seconds(2)));
    return vm.machine->alive();
  }
  const auto answer = vm.machine->qmp().execute("query-status", base::Json::object(),
                                                base::Deadline::in(std::chrono::milliseconds(1500)));
  return !answer && answer.error().kind == base::ErrorKind::timeout;
}

}  // namespace

Stuck find_stuck(Lineage& lineage, const std::set<std::string>& left_out) {
  std::vector<const TargetInstance*> targets = lineage.targets().live();
  std::erase_if(targets, [&left_out](const TargetInstance* target) { return left_out.contains(target->name); });
  for (const TargetInstance* instance : targets) {
    if (stopped(instance->target->pid())) return {instance->name, instance->process_id, "is stopped (state T)"};
  }
  for (const Vm& vm : lineage.vms()) {
    if (stopped(vm.machine->qemu_pid())) return {vm.name, vm.process_id, "is stopped (state T)"};
  }
  for (const DaemonInstance& instance : lineage.daemons().all()) {
    if (!instance.lost && stopped(instance.daemon->process().pid)) {
      return {instance.name, instance.process_id, "is stopped (state T)"};
    }
  }
  for (const TargetInstance* instance : targets) {
    if (!outside_event_loop(lineage, instance->target->pid())) continue;
    return {instance->name, instance->process_id,
            fmt::format("sits in {} instead of its event loop", wait_channel(instance->target->pid()))};
  }
  // The end of a daemon explains the silence of its QEMUs.
  for (const DaemonInstance& instance : lineage.daemons().all()) {
    if (!instance.lost && !instance.daemon->alive()) return {};
  }
  if (const DaemonInstance* silent = lineage.daemons().silent()) {
    return {silent->name, silent->process_id, "does not answer"};
  }
  for (Vm& vm : lineage.vms()) {
    if (!vm.asked_to_quit && qmp_silent(lineage, vm)) return {vm.name, vm.process_id, "does not answer on QMP"};
  }
  return {};
}

base::Json hang_evidence(Lineage& lineage) {
  base::Json evidence = base::Json::object();
  proc::Reactor& reactor = lineage.context().reactor;
  for (const TargetInstance* instance : lineage.targets().live()) {
    evidence["stacks"][instance->name] =
        proc::capture_stacks(reactor, lineage.context().containment, instance->target->pid());
    evidence["log"][instance->name] = instance->target->child().last_lines();
  }
  for (const DaemonInstance& instance : lineage.daemons().all()) {
    if (instance.lost) continue;
    evidence["stacks"][instance.name] =
        proc::capture_stacks(reactor, lineage.context().containment, instance.daemon->process().pid);
    evidence["log"][instance.name] = instance.daemon->last_lines();
  }
  for (Vm& vm : lineage.vms()) {
    evidence["stacks"][vm.name] = proc::capture_stacks(reactor, lineage.context().containment, vm.machine->qemu_pid());
    evidence["log"][vm.name] = vm.machine->last_lines();
    for (const char* command : {"query-status", "query-migrate"}) {
      const auto answer =
          vm.machine->qmp().execute(command, base::Json::object(), base::Deadline::in(std::chrono::milliseconds(500)));
      evidence["qmp"][vm.name][command] = answer ? *answer : base::Json(answer.error().describe());
    }
  }
  evidence["console"] = lineage.console().last_lines();
  return evidence;
}

}  // namespace migsoak::engine
