#include "engine/iteration.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "base/text.h"
#include "engine/blame.h"
#include "engine/settle.h"

namespace migsoak::engine {

using base::Deadline;
using record::IterationStatus;
using std::chrono::seconds;
namespace kind = record::event_kind;

namespace {
// The guest needs this long for the first sign of life at the most, however slow the machine.
constexpr seconds kSettleMax{3};
}  // namespace

IterationRunner::IterationRunner(Lineage& lineage, record::Observation& into, std::string next_side)
    : lineage_(lineage),
      context_(lineage.context()),
      into_(into),
      next_side_(std::move(next_side)),
      mode_(ops::find_mode(into.plan.mode)),
      operations_(
          lineage, into,
          [this](const char* event_kind, const std::string& subject, const std::string& text) -> record::Event& {
            return add_event(event_kind, subject, 0, text);
          },
          [this](const guest::DiskReport& disk) { record_disk(disk); }),
      restarts_(lineage, into, [this] { return at_ms(); }),
      reads_(into, [this] { return at_ms(); }) {}

double IterationRunner::at_ms() const {
  return lineage_.at_ms();
}

void IterationRunner::phase(const char* name) {
  into_.phase = name;
}

void IterationRunner::sample(const std::string& subject, std::int64_t process_id, const std::string& metric,
                             double value) {
  into_.samples.push_back({subject, process_id, metric, value});
}

record::Event& IterationRunner::add_event(const char* event_kind, const std::string& subject, std::int64_t process_id,
                                          const std::string& text) {
  record::Event event;
  event.kind = event_kind;
  event.subject = subject;
  event.process_id = process_id;
  event.phase = into_.phase;
  event.at_ms = at_ms();
  event.text = base::printable(text, 1000);
  into_.events.push_back(std::move(event));
  return into_.events.back();
}

bool IterationRunner::boot() {
  phase("boot");
  std::string blamed;
  if (const auto started = lineage_.start_targets(into_, blamed); !started) {
    const auto player = std::find_if(lineage_.targets().begin(), lineage_.targets().end(),
                                     [&blamed](const TargetPlayer& p) { return p.name == blamed; });
    const bool known = player != lineage_.targets().end();
    return give_up(blamed, known ? player->process_id : 0, as_subjects(started.error(), !blamed.empty()),
                   "listening socket of " + blamed);
  }
  const base::Result<Player*> player =
      lineage_.spawn(lineage_.prepare(into_.plan.source_side, nullptr, nullptr, lineage_.devices()), into_);
  const std::string name = "qemu:" + into_.plan.source_side;
  const bool has_wrapper = !context_.scenario.side(into_.plan.source_side).wrapper.empty();
  if (!player) return give_up(name, 0, as_subjects(player.error(), has_wrapper), "start of " + name);
  const DeadlineScenario& deadline = context_.scenario.deadline;
  if (const auto ready = lineage_.make_ready(**player, Deadline::in(seconds(deadline.spawn_s))); !ready) {
    return give_up(name, (*player)->process_id, ready.error(), "QMP of " + name);
  }
  lineage_.channel().make_active((*player)->agent_stream);
  lineage_.set_current(*player);
  const base::Result<guest::Hello> hello = lineage_.channel().wait_hello(Deadline::in(seconds(deadline.boot_s)));
  if (!hello) {
    if (!still_whole()) return false;
    return give_up("guest", 0, hello.error(), "hello of the guest's agent");
  }
  guest::WorkloadSpec workload;
  workload.kind = context_.scenario.guest.workload == "idle"    ? guest::Workload::idle
                  : context_.scenario.guest.workload == "dirty" ? guest::Workload::dirty
                                                                : guest::Workload::verify;
  workload.ram_bytes = context_.scenario.guest.ram_verify_bytes;
  workload.dirty_bytes_per_s = context_.scenario.guest.dirty_bytes_per_s;
  workload.disk_bytes_per_s = context_.scenario.guest.disk_bytes_per_s;
  workload.disk_queue_depth = context_.scenario.guest.queue_depth;
  workload.seed = context_.scenario.seed;
  if (const auto started = lineage_.channel().start_workload(workload, Deadline::in(seconds(deadline.answer_s)));
      !started) {
    if (!still_whole()) return false;
    return give_up("guest", 0, started.error(), "start of the guest's workload");
  }
  if (const auto adopted = operations_.adopt_boot_disks(); !adopted) {
    if (!still_whole()) return false;
    return give_up("guest", 0, adopted.error(), "start of the guest's disks");
  }
  (void)lineage_.channel().take_gap();
  record::Event& event =
      add_event(kind::kLineageStart, "guest", 0,
                fmt::format("lineage {} boots on side {}", lineage_.number(), into_.plan.source_side));
  event.detail = {{"boot_side", into_.plan.source_side},
                  {"boot_ms", at_ms()},
                  {"machine_type", lineage_.machine()},
                  {"kernel", hello->kernel},
                  {"agent", hello->agent_version}};
  return begin_tree(*player, "source") && finish_tree();
}

bool IterationRunner::run() {
  source_ = lineage_.current();
  assert(source_ != nullptr);
  const bool good = attempt_upgrade() && restart_targets("between") && spawn_destination() && run_operations() &&
                    look_at_plugged() && raise_destination() && restart_before() && settle_disks() &&
                    begin_operations() && migrate() && switch_over() && retire_source() &&
                    conclude_operations(destination_) && begin_tree(destination_, "arrived") && finish_verify() &&
                    look_by_guest() && finish_raising_next() && restart_after() && quiet_point();
  lineage_.drain_logs(into_, into_.phase, at_ms());
  restarts_.conclude();
  if (attempt_ && into_.status != IterationStatus::unknown) {
    attempt_->conclude(into_.status == IterationStatus::completed);
  }
  reads_.conclude();
  return good;
}

bool IterationRunner::spawn_destination() {
  phase("spawn");
  const std::string name = "qemu:" + into_.plan.destination_side;
  for (Player& player : lineage_.players()) {
    if (&player != source_ && player.name == name) destination_ = &player;  // raised early
  }
  retire_unused();
  return destination_ != nullptr || !starts_before() || spawn_destination_with(operations_.planned());
}

bool IterationRunner::spawn_destination_with(const hypervisor::DeviceSet& devices) {
  const std::string& side = into_.plan.destination_side;
  const std::string name = "qemu:" + side;
  const base::Result<Player*> spawned = lineage_.spawn(lineage_.prepare(side, mode_, source_, devices), into_);
  const bool has_wrapper = !context_.scenario.side(side).wrapper.empty();
  if (!spawned) return give_up(name, 0, as_subjects(spawned.error(), has_wrapper), "start of " + name);
  destination_ = *spawned;
  return true;
}

bool IterationRunner::raise_destination() {
  phase("spawn");
  if (!starts_before()) return true;
  if (destination_ == nullptr) return stay_on_source();  // ended while operations ran, and was noted
  if (mode_->needs.succession == ops::Succession::waiting) return still_whole();
  const std::string name = destination_->name;
  const std::int64_t id = destination_->process_id;
  if (const auto ready = lineage_.make_ready(*destination_, Deadline::in(seconds(context_.scenario.deadline.spawn_s)));
      !ready) {
    if (!still_whole()) return false;
    if (destination_ == nullptr) return stay_on_source();  // it ended at its start; the guest never left
    return give_up(name, id, ready.error(), "QMP of " + name);
  }
  sample("host", 0, "spawn_ms", destination_->spawn_ms);
  if (!still_whole()) return false;
  if (destination_ == nullptr) return stay_on_source();
  begin_reading(destination_, hypervisor::ReadPoint::destination, false);
  begin_waiting_tree();
  return true;
}

// One that was raised early for a plan that a failed migration has overtaken.
void IterationRunner::retire_unused() {
  for (auto it = lineage_.players().begin(); it != lineage_.players().end();) {
    Player& player = *it++;
    if (&player != source_ && &player != destination_) lineage_.retire(player, /*by_quit=*/false, into_);
  }
}

bool IterationRunner::settle_disks() {
  phase("settle-disks");
  if (restarts_.planned("during")) return true;  // when the target is back: until then requests are to be in flight
  const base::Result<void> settled = ask_to_settle();
  if (settled) return restarts_.lost_as_declared() ? end_by_declared_restart() : true;
  if (!still_whole()) return false;
  return give_up("guest", 0, settled.error(), "settling of the guest's disks");
}

bool IterationRunner::switch_over() {
  phase("switch-over");
  lineage_.channel().make_active(destination_->agent_stream);
  lineage_.set_current(destination_);
  const auto beat = lineage_.channel().wait_heartbeat(destination_->agent_stream,
                                                      Deadline::in(seconds(context_.scenario.deadline.answer_s)));
  if (!beat) {
    // By QEMU's word it arrived; but its memory is gone.
    const bool interrupted = beat.error().kind == base::ErrorKind::interrupted;
    if (into_.plan.expect == record::kExpectLost && !interrupted) {
      return lose_as_declared("completed", "no heartbeat of the guest: " + beat.error().describe());
    }
    if (!still_whole()) return false;
    return give_up("guest", 0, beat.error(), "heartbeat of the guest on its destination");
  }
  const guest::HeartbeatGap gap = lineage_.channel().take_gap();
  sample("guest", 0, "heartbeat_gap_ms", gap.host_ms);
  sample("guest", 0, "heartbeat_gap_guest_ms", gap.guest_ms);
  sample("guest", 0, "heartbeats_lost", static_cast<double>(gap.lost));
  sample_peaks();
  if (context_.scenario.guest.workload == "verify") {
    const auto sent = lineage_.channel().begin_verify(context_.scenario.guest.ram_verify_bytes,
                                                      context_.scenario.guest.disk_verify_bytes);
    if (!sent) return give_up("guest", 0, sent.error(), "sending the verification command");
  }
  return still_whole();
}

bool IterationRunner::finish_verify() {
  if (context_.scenario.guest.workload != "verify") return true;
  phase("verify");
  const auto report = lineage_.channel().finish_verify(Deadline::in(seconds(context_.scenario.deadline.answer_s)));
  if (!report) {
    if (!still_whole()) return false;
    return give_up("guest", 0, report.error(), "verification by the guest");
  }
  record_verification(*report);
  reads_.done("verification");
  if (report->ram.verified_bytes == 0 && context_.scenario.guest.ram_verify_bytes > 0) {
    reads_.failed("verification", "guest", 0, "none of its RAM was verified");
  }
  return still_whole();
}

bool IterationRunner::quiet_point() {
  phase("quiet");
  const SettleReport settled = wait_quiet(lineage_, lineage_.hung_up_sockets, Deadline::in(kSettleMax));
  if (settled.interrupted) return still_whole();
  lineage_.hung_up_sockets = settled.hung_up_sockets;
  sample("host", 0, "settle_ms", settled.took_ms);
  if (!still_whole()) return false;
  finish_tree();  // the answer came while counts settled, at the latest
  into_.context = fmt::format("qemus={}", lineage_.players().size());
  if (!settled.settled) {
    for (const TargetPlayer& player : lineage_.targets()) {
      add_event(kind::kUnsettled, player.name, player.process_id, "descriptors still changed at the quiet point");
    }
  }
  probes::Scene scene = lineage_.scene();
  scene.since_iteration_start_ms = at_ms();
  // With several lanes the harness's counts depend on what the others do at this moment: not comparable.
  if (context_.lanes == 1) {
    scene.subjects.push_back({"harness", context_.harness.id, getpid(), lineage_.known_pids()});
    scene.subjects.back().own_children.insert(scene.guardian_pid);
  }
  probes::run_probes(scene, lineage_.probe_state(), into_);
  lineage_.sample_targets(into_);
  reads_.done("samples");
  reads_.done("sockets");
  for (const SettleReport::Unread& unread : settled.unread) {
    reads_.failed("sockets", unread.subject, unread.process_id, unread.why);
  }
  for (const auto& [process_id, peak] : peaks_) {
    for (const TargetPlayer& player : lineage_.targets()) {
      if (player.process_id == process_id) sample(player.name, process_id, "fd.peak", peak);
    }
  }
  for (const std::string& target : settled.targets_without_guest) {
    const std::string why = "dropped its client: the guest's QEMU has no connection to it any more";
    add_event(kind::kTargetLost, target, 0, target + " " + why).detail = {{"why", why}};
    into_.status = IterationStatus::lost;
    return false;
  }
  if (into_.status == IterationStatus::started) into_.status = IterationStatus::completed;
  return true;
}

}  // namespace migsoak::engine
