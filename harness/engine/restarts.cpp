#include "engine/restarts.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/text.h"
#include "hypervisor/device_type.h"
#include "proc/proc_fs.h"

namespace migsoak::engine {

using base::Deadline;
using base::Result;
using std::chrono::seconds;

namespace {

// Neither a process's end behind a wrapper, nor listening, nor a connection is announced to us.
constexpr std::chrono::milliseconds kLookAgain{3};
constexpr std::chrono::seconds kAnswerMax{5};

// What the plan declares of a restart, of that instance of the target.
record::Declaration declared_of(const record::PlannedRestart& planned, const std::string& target) {
  record::Plan plan;
  plan.restarts = {planned};
  record::Declaration declared = record::declarations_of(plan).front();
  declared.subjects = {target};
  return declared;
}

}  // namespace

std::string RestartRunner::words_of(const record::PlannedRestart& planned) {
  return fmt::format("restart ({}, {} {})", planned.how, planned.timing,
                     planned.timing == "between" ? "migrations" : "the migration");
}

Stalled stalled_of(const std::map<std::string, std::optional<std::int64_t>>& in_flight,
                   const std::set<std::string>& restarted) {
  Stalled stalled;
  for (const auto& [target, count] : in_flight) {
    if (count.value_or(0) > 0) (restarted.contains(target) ? stalled.restarted : stalled.others).insert(target);
  }
  if (stalled.restarted.empty() && stalled.others.empty()) stalled.restarted = restarted;
  return stalled;
}

RestartRunner::RestartRunner(Lineage& lineage, record::Journal& journal) : lineage_(lineage), journal_(journal) {}

bool RestartRunner::allows_errors(const Restart& restart) {
  return restart.declared.allowed(record::outcome::kIoErrors);
}

bool RestartRunner::declared_loss(const Restart& restart) {
  return allows_errors(restart) && (restart.stalled || restart.hangs);
}

bool RestartRunner::planned(const std::string& timing) const {
  const auto& restarts = journal_.plan().restarts;
  return std::any_of(restarts.begin(), restarts.end(), [&](const auto& r) { return r.timing == timing; });
}

Result<void> RestartRunner::run(const std::string& timing) {
  const auto add = [this](const record::PlannedRestart& planned, const std::string& subject) -> Restart& {
    Restart& next = restarts_.emplace_back();
    next.planned = planned;
    next.target = subject;
    next.declared = declared_of(planned, subject);
    next.phase = journal_.phase();
    next.began_at_ms = journal_.at_ms();
    return next;
  };
  for (const record::PlannedRestart& planned : journal_.plan().restarts) {
    if (planned.timing != timing) continue;
    if (DaemonInstance* daemon = planned.daemon.empty() ? nullptr : lineage_.daemons().live(planned.subject())) {
      MIGSOAK_TRY(restart(*daemon, add(planned, daemon->name)));
    }
    for (TargetInstance* instance : lineage_.targets().live_of(planned.target)) {
      Restart& next = add(planned, instance->name);
      for (const target::ServedDevice& device : instance->target->spec().devices) next.disks.push_back(device.id);
      MIGSOAK_TRY(restart(*instance, next));
    }
  }
  return {};
}

Result<void> RestartRunner::restart(TargetInstance& instance, Restart& restart) {
  const std::vector<Link> links = connected_links(instance);
  double last = journal_.at_ms();
  const auto lap = [&] {
    const double now = journal_.at_ms();
    return now - std::exchange(last, now);
  };
  instance.restarting = true;
  MIGSOAK_TRY(stop(instance, restart));
  restart.stop_ms = lap();
  restart.in_flight = in_flight_to(disks_of(instance));
  MIGSOAK_TRY(start(instance, restart));
  restart.start_ms = lap();
  MIGSOAK_TRY(wait_reconnected(instance, links, restart));
  restart.reconnect_ms = lap();
  return {};
}

tl::unexpected<base::Error> RestartRunner::fail(Restart& restart, const char* result, base::Error error,
                                                Trouble trouble) {
  restart.failed = result;
  restart.why = error.describe();
  trouble_ = std::move(trouble);
  return tl::unexpected(std::move(error));
}

Result<void> RestartRunner::stop(TargetInstance& instance, Restart& restart) {
  target::Target& target = *instance.target;
  target.begin_stop(restart.planned.how == "kill" ? target::StopHow::kill : target::StopHow::graceful);
  MIGSOAK_TRY(wait_end([&] { return target.stopped(); }, [&] { target.begin_stop(target::StopHow::kill); },
                       {instance.name, instance.process_id, "end of " + instance.name}, restart));
  lineage_.drain_logs(journal_);  // its lines go with it
  lineage_.targets().note_stopped(instance, journal_);
  return {};
}

Result<void> RestartRunner::wait_end(const std::function<bool()>& gone, const std::function<void()>& kill,
                                     const Trouble& who, Restart& restart) {
  const LaneContext& context = lineage_.context();
  const auto quit_s = context.scenario.deadline.quit_s;
  proc::Wait wait = context.reactor.run_until(gone, Deadline::in(seconds(quit_s)), kLookAgain);
  if (wait == proc::Wait::timeout) {
    const char* of = restart.planned.daemon.empty() ? "target" : "daemon";
    journal_.event(record::event_kind::kHang, who.subject)
        .process(who.process_id)
        .text(fmt::format("{} did not end after {} and is killed", who.subject,
                          restart.planned.how == "kill" ? "SIGKILL" : "SIGTERM"))
        .detail({{"waiting_for", fmt::format("end of the {} at its {}", of, words_of(restart.planned))},
                 {"waited_ms", 1000.0 * static_cast<double>(quit_s)}});
    kill();
    wait = context.reactor.run_until(gone, Deadline::in(seconds(quit_s)), kLookAgain);
  }
  if (wait == proc::Wait::interrupted) {
    return fail(restart, "", {base::ErrorKind::interrupted, "stopped during a restart", {}}, who);
  }
  if (wait == proc::Wait::timeout) {
    return fail(restart, "lost", {base::ErrorKind::timeout, who.subject + " does not end, even by SIGKILL", {}}, who);
  }
  return {};
}

Result<void> RestartRunner::start(TargetInstance& instance, Restart& restart) {
  const LaneContext& context = lineage_.context();
  const Trouble trouble{instance.name, instance.process_id,
                        fmt::format("listening socket of {} after its {}", instance.name, words_of(restart.planned))};
  Result<void> started = instance.target->start_again();
  // From here on its end is an unexpected one again; of a process that never came, there is none.
  instance.restarting = !started;
  if (!started) {
    instance.lost = true;
    return fail(restart, "lost", std::move(started.error()), trouble);
  }
  Result<void> ready = instance.target->wait_ready(Deadline::in(seconds(context.scenario.deadline.spawn_s)));
  lineage_.targets().note_started(instance, journal_);
  if (ready) return {};
  return fail(restart, "lost", std::move(ready.error()), {trouble.subject, instance.process_id, trouble.waiting_for});
}

// The QEMUs that are connected to the target, by the kernel's word: a socket of theirs, the peer of one that the target
// has accepted on that path.
std::vector<RestartRunner::Link> RestartRunner::connected_links(const TargetInstance& instance) {
  std::vector<Link> links;
  const auto sockets = proc::read_unix_sockets();
  if (!sockets) return links;
  std::map<std::uint64_t, std::string> accepted;  // inode of the peer -> path
  for (const proc::FdEntry& fd : proc::read_fds(instance.target->pid()).value_or(std::vector<proc::FdEntry>{})) {
    const auto socket = sockets->find(fd.inode);
    if (fd.inode == 0 || socket == sockets->end() || socket->second.listening) continue;
    if (socket->second.peer_inode != 0) accepted[socket->second.peer_inode] = socket->second.path;
  }
  for (const Vm& qemu : lineage_.vms()) {
    if (!instance.serves(qemu.machine->spec().side, qemu.slot)) continue;
    const pid_t pid = qemu.machine->qemu_pid();
    std::set<std::string> paths;
    for (const proc::FdEntry& fd : proc::read_fds(pid).value_or(std::vector<proc::FdEntry>{})) {
      if (const auto peer = accepted.find(fd.inode); fd.inode != 0 && peer != accepted.end()) {
        paths.insert(peer->second);
      }
    }
    for (const target::ServedDevice& device : instance.target->spec().devices) {
      const std::string& socket = instance.target->connect(device.id, qemu.slot).socket;
      if (!paths.contains(socket)) continue;
      links.push_back({qemu.process_id, qemu.name, pid, hypervisor::chardev_of(device.id), socket});
    }
  }
  return links;
}

Vm* RestartRunner::vm_of(const Link& link) {
  for (Vm& vm : lineage_.vms()) {
    // One that ended meanwhile, or is about to as asked, need not come back.
    const bool there = vm.process_id == link.process_id && !vm.asked_to_quit && vm.machine->alive();
    if (there) return &vm;
  }
  return nullptr;
}

namespace {

// QEMU's main loop has seen the new connection, and the device has set it up, when its chardev says so: it does both at
// one go (hw/block/vhost-user-blk.c, vhost_user_blk_event), and answers QMP before or after.
class ChardevQuery {
 public:
  explicit ChardevQuery(qmp::Monitor& client) : client_(client), id_(client.send("query-chardev")) {}
  bool answered() const { return client_.replied(id_) || !client_.connected(); }
  // Of this chardev; true where there is no answer to be had: then the process is on its way out.
  bool connected(const std::string& chardev) {
    if (!list_) {
      const auto reply = client_.take_reply(id_, Deadline::in(std::chrono::milliseconds(0)));
      list_ = reply ? *reply : base::Json::array();
    }
    for (const base::Json& entry : *list_) {
      if (base::json_get<std::string>(entry, "label", "") != chardev) continue;
      return !base::json_get<std::string>(entry, "filename", "").starts_with("disconnected:");
    }
    return true;
  }

 private:
  qmp::Monitor& client_;
  std::uint64_t id_;
  std::optional<base::Json> list_;
};

}  // namespace

Result<void> RestartRunner::wait_reconnected(TargetInstance& instance, const std::vector<Link>& links,
                                             Restart& restart) {
  const LaneContext& context = lineage_.context();
  std::vector<Link> missing;
  std::map<std::int64_t, ChardevQuery> queries;
  // First the kernel, then each QEMU; a QEMU that says no is asked again after the next look.
  const auto reconnected = [&] {
    if (instance.target->child().exited()) return true;
    if (queries.empty()) {
      const std::vector<Link> now = connected_links(instance);
      missing.clear();
      for (const Link& link : links) {
        const bool back = std::any_of(now.begin(), now.end(), [&](const Link& other) {
          return other.process_id == link.process_id && other.socket == link.socket;
        });
        if (!back && vm_of(link) != nullptr) missing.push_back(link);
      }
      if (!missing.empty()) return false;
      for (const Link& link : links) {
        Vm* qemu = vm_of(link);
        if (qemu != nullptr && qemu->machine->ready()) {
          queries.try_emplace(link.process_id, qemu->machine->qmp());
        }
      }
    }
    for (auto& [id, query] : queries) {
      if (!query.answered()) return false;
    }
    for (const Link& link : links) {
      const auto query = queries.find(link.process_id);
      if (query != queries.end() && !query->second.connected(link.chardev)) missing.push_back(link);
    }
    queries.clear();
    return missing.empty();
  };
  const auto answer_s = context.scenario.deadline.answer_s;
  const proc::Wait wait = context.reactor.run_until(reconnected, Deadline::in(seconds(answer_s)), kLookAgain);
  if (wait == proc::Wait::interrupted) {
    return fail(restart, "", {base::ErrorKind::interrupted, "stopped during a restart", {}}, {instance.name, 0, ""});
  }
  if (wait == proc::Wait::ready && !instance.target->child().exited()) return {};
  if (wait == proc::Wait::ready) {
    return fail(restart, "lost", {base::ErrorKind::subject, instance.name + " ended again after its restart", {}},
                {instance.name, instance.process_id, "its clients"});
  }
  const Link& first = missing.empty() ? links.front() : missing.front();
  const std::string why = fmt::format("{} did not connect to {} again within {} s of its {}", first.qemu, instance.name,
                                      answer_s, words_of(restart.planned));
  return fail(restart, "not-reconnected", {base::ErrorKind::subject, why, {}},
              {first.qemu, first.process_id, "connection to " + instance.name});
}

std::vector<std::string> RestartRunner::disks_of(const TargetInstance& instance) {
  const Vm* guest_in = lineage_.current();
  std::vector<std::string> addresses;
  if (guest_in == nullptr || !instance.serves(guest_in->machine->spec().side, guest_in->slot)) return addresses;
  for (const hypervisor::DeviceSpec& device : lineage_.devices()) {
    const auto& disks = instance.target->spec().devices;
    const bool served = std::any_of(disks.begin(), disks.end(), [&](const auto& disk) { return disk.id == device.id; });
    if (served) addresses.push_back(hypervisor::pci_address(lineage_.devices(), device));
  }
  return addresses;
}

// Writes that the guest waits for, by its own word: asked while the target is gone, so that they stand still.
std::optional<std::int64_t> RestartRunner::in_flight_to(const std::vector<std::string>& addresses) {
  if (addresses.empty() || lineage_.context().scenario.guest.workload != "verify") return std::nullopt;
  const auto answer = lineage_.channel().command("writes_in_flight", {{"pci_addresses", base::join(addresses, ",")}},
                                                 Deadline::in(kAnswerMax));
  if (!answer) return std::nullopt;  // whoever waits for the guest next finds out
  return base::json_get<std::int64_t>(*answer, "in_flight", 0);
}

void RestartRunner::note_disk(const std::string& device, std::uint64_t io_errors, bool hangs) {
  for (Restart& restart : restarts_) {
    if (std::find(restart.disks.begin(), restart.disks.end(), device) == restart.disks.end()) continue;
    restart.io_errors += io_errors;
    restart.hangs = restart.hangs || hangs;
  }
}

void RestartRunner::note_stalled(std::int64_t waited_ms, const std::vector<std::string>& addresses) {
  if (restarts_.empty()) return;
  std::map<std::string, std::optional<std::int64_t>> in_flight;
  std::set<std::string> restarted;
  for (const Restart& restart : restarts_) restarted.insert(restart.target);
  for (const TargetInstance* instance : lineage_.targets().live()) {
    std::vector<std::string> disks = disks_of(*instance);
    std::erase_if(disks, [&](const std::string& disk) {
      return std::find(addresses.begin(), addresses.end(), disk) == addresses.end();
    });
    in_flight[instance->name] = in_flight_to(disks);
  }
  const Stalled stalled = stalled_of(in_flight, restarted);
  for (const std::string& target : stalled.others) {
    journal_.event(record::event_kind::kHang, target)
        .text(fmt::format("requests of the guest are not answered after {} ms, and {} was not restarted", waited_ms,
                          target))
        .detail({{"waiting_for", "answer to the guest's requests in flight"}, {"waited_ms", waited_ms}});
  }
  const auto last = std::find_if(restarts_.rbegin(), restarts_.rend(),
                                 [&](const Restart& restart) { return stalled.restarted.contains(restart.target); });
  if (last == restarts_.rend()) return;
  last->stalled = true;
  if (allows_errors(*last)) return;
  journal_.event(record::event_kind::kHang, last->target)
      .since(last->phase, journal_.at_ms())
      .text(
          fmt::format("requests of the guest are not answered {} ms after the {}", waited_ms, words_of(last->planned)))
      .detail({{"waiting_for", "answer to the guest's requests in flight after its " + words_of(last->planned)},
               {"waited_ms", waited_ms}});
}

std::uint64_t RestartRunner::declared_errors() const {
  std::uint64_t count = 0;
  for (const Restart& restart : restarts_) count += allows_errors(restart) ? restart.io_errors : 0;
  return count;
}

void RestartRunner::note_lasting() {
  for (Restart& restart : restarts_) restart.stalled = restart.stalled || allows_errors(restart);
}

bool RestartRunner::lost_as_declared() const {
  return std::any_of(restarts_.begin(), restarts_.end(), [](const Restart& restart) { return declared_loss(restart); });
}

std::set<std::string> RestartRunner::targets_allowed_errors() const {
  std::set<std::string> names;
  for (const Restart& restart : restarts_) {
    if (declared_loss(restart)) names.insert(restart.target);
  }
  return names;
}

void RestartRunner::conclude() {
  const record::IterationStatus status = journal_.observation().status;
  const bool lost = status == record::IterationStatus::lost;
  for (const Restart& restart : restarts_) {
    if (restart.failed.empty() && status == record::IterationStatus::unknown) continue;  // nothing can be said
    const bool by_plan = declared_loss(restart) && (!lost || ended_guest_);
    record::ExpectedTrouble trouble;
    trouble.declared = restart.declared;
    trouble.result = !restart.failed.empty() ? restart.failed
                     : by_plan               ? "io-errors"
                     : lost                  ? "lost"
                     : restart.io_errors > 0 ? "io-errors"
                                             : "recovered";
    trouble.seen = record::seen_of_restart(trouble);
    trouble.phase = restart.phase;
    trouble.at_ms = restart.began_at_ms;
    trouble.took_ms = restart.stop_ms + restart.start_ms + restart.reconnect_ms;
    trouble.text = fmt::format("{} of {}: {}", words_of(restart.planned), restart.target, trouble.result);
    trouble.why = base::printable(restart.why, 300);
    trouble.io_errors = static_cast<std::int64_t>(restart.io_errors);
    trouble.in_flight = restart.in_flight;
    trouble.ended_guest = by_plan && lost;
    base::Json more = {
        {"stop_ms", restart.stop_ms}, {"start_ms", restart.start_ms}, {"reconnect_ms", restart.reconnect_ms}};
    if (restart.stalled) more["stalled"] = true;
    if (restart.hangs) more["hangs"] = true;
    record::record_trouble(journal_, trouble, 0, more);
  }
  restarts_.clear();
}

}  // namespace migsoak::engine
