// Targets that are restarted before, during and after the migration, and the guest's writes meanwhile.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "engine/iteration.h"

namespace migsoak::engine {

using base::Deadline;
using base::Result;
using std::chrono::seconds;

namespace {
// So slow that a migration does not come to its end by itself; the guest writes faster.
constexpr std::int64_t kHeldBytesPerS = 1 << 20;
constexpr std::int64_t kUnderWayBytes = 64 << 10;
}  // namespace

bool IterationRunner::restart_targets(const char* timing) {
  if (!restarts_.planned(timing)) return true;
  phase("restart");
  const Result<void> done = restarts_.run(timing);
  return done ? still_whole() : give_up_restart(done.error());
}

bool IterationRunner::give_up_restart(const base::Error& error) {
  const RestartRunner::Trouble& trouble = restarts_.trouble();
  return give_up(trouble.subject.empty() ? "guest" : trouble.subject, trouble.process_id, error, trouble.waiting_for);
}

// The daemon's successor has done requests over again that were done, the guest finds its queue broken, and its disk
// answers no more. That was declared, and ends this guest's life by plan. Always false.
bool IterationRunner::end_by_declared_restart() {
  phase("restart");
  // A destination may have ended, refusing the broken queue; that the target ends again was not declared.
  const auto ended = [](const TargetPlayer& player) { return !player.lost && player.target->child().exited(); };
  if (std::any_of(lineage_.targets().begin(), lineage_.targets().end(), ended)) return still_whole();
  lineage_.drain_logs(into_, into_.phase, at_ms());
  source_reading_.reset();
  destination_reading_.reset();
  while (!lineage_.players().empty()) lineage_.retire(lineage_.players().front(), /*by_quit=*/false, into_);
  source_ = destination_ = next_ = nullptr;
  into_.status = record::IterationStatus::lost;
  return false;
}

bool IterationRunner::restart_before() {
  if (!restart_targets("before")) return false;
  // It ended, its disk gone, which was noted; the guest never left.
  return destination_ != nullptr || !starts_before() ? true : stay_on_source();
}

bool IterationRunner::verify_again() {
  const auto sent = lineage_.channel().begin_verify(context_.scenario.guest.ram_verify_bytes,
                                                    context_.scenario.guest.disk_verify_bytes);
  if (!sent) return give_up("guest", 0, sent.error(), "sending the verification command");
  return finish_verify();
}

// Errors of requests in flight are over when a second verification has none; else they last.
bool IterationRunner::disks_live_on() {
  const std::uint64_t errors = restarts_.declared_errors();
  if (errors > 0 && !restarts_.lost_as_declared()) {
    if (!verify_again()) return false;
    if (restarts_.declared_errors() > errors) restarts_.note_lasting();
  }
  return restarts_.lost_as_declared() ? end_by_declared_restart() : true;
}

// The guest has its disks verified as the migration left them, and once more as the restart did: only then does the
// guest write on in between.
bool IterationRunner::restart_after() {
  if (!disks_live_on()) return false;
  if (!restarts_.planned("after")) return true;
  if (!restart_targets("after")) return false;
  if (context_.scenario.guest.workload != "verify") return true;
  return verify_again() && disks_live_on();
}

// A migration that is to see a restart must not be over before it. Precopy does not end as long as it can't send what
// the guest writes.
bool IterationRunner::hold_migration() {
  if (!restarts_.planned("during")) return true;
  const Deadline deadline = Deadline::in(seconds(context_.scenario.deadline.answer_s));
  const auto limited = [&]() -> Result<void> {
    qmp::Client& client = source_->machine->qmp();
    MIGSOAK_ASSIGN(const base::Json parameters,
                   client.execute("query-migrate-parameters", base::Json::object(), deadline));
    full_bandwidth_ = base::json_get<std::int64_t>(parameters, "max-bandwidth", 0);
    MIGSOAK_TRY(client.execute("migrate-set-parameters", {{"max-bandwidth", kHeldBytesPerS}}, deadline));
    return {};
  }();
  if (limited) return true;
  if (!still_whole()) return false;
  return give_up(source_->name, source_->process_id, limited.error(), "QMP of " + source_->name);
}

// RAM is being sent, and what the target writes is logged: a target that goes while QEMU asks it to log is another
// case, which QEMU 7.2 does not survive (hw/virtio/vhost.c, vhost_log_global_start: abort).
Result<void> IterationRunner::wait_under_way() {
  qmp::Client& client = source_->machine->qmp();
  const Deadline deadline = Deadline::in(seconds(context_.scenario.deadline.answer_s));
  for (;;) {
    MIGSOAK_ASSIGN(const base::Json answer, client.execute("query-migrate", base::Json::object(), deadline));
    const auto status = base::json_get<std::string>(answer, "status", "");
    const base::Json ram = base::json_get(answer, "ram", base::Json::object());
    if (status == "active" && base::json_get<std::int64_t>(ram, "transferred", 0) > kUnderWayBytes) return {};
    // It has failed, and the mode is about to see it: there is no "during" any more.
    if (status == "failed" || status == "cancelled" || status == "completed") return {};
  }
}

// Called from within the migration, when it has begun. Trouble is kept for when it is over: it uses both ends.
void IterationRunner::restart_during() {
  if (!restarts_.planned("during")) return;
  phase("restart");
  during_ = wait_under_way();
  if (during_) during_ = restarts_.run("during");
  if (during_) during_ = ask_to_settle();
  qmp::Client& client = source_->machine->qmp();
  const auto freed = client.execute("migrate-set-parameters", {{"max-bandwidth", full_bandwidth_}},
                                    Deadline::in(seconds(context_.scenario.deadline.answer_s)));
  if (during_ && !freed) during_ = tl::unexpected(freed.error());
  phase("migrate");
}

// Devices with io = "settled": no request of theirs may be in flight at the switch-over.
Result<void> IterationRunner::ask_to_settle() {
  const std::vector<std::string> addresses = lineage_.disks_to_settle();
  if (addresses.empty() || context_.scenario.guest.workload != "verify") return {};
  constexpr std::int64_t kPatienceMs = 5000;
  MIGSOAK_ASSIGN(const base::Json answer,
                 lineage_.channel().command(
                     "settle_disks", {{"pci_addresses", base::join(addresses, ",")}, {"timeout_ms", kPatienceMs}},
                     Deadline::in(seconds(context_.scenario.deadline.answer_s))));
  // Without a restart in this iteration a disk that does not settle shows in the verification.
  if (!base::json_get<bool>(answer, "idle", true)) restarts_.note_stalled(kPatienceMs);
  return {};
}

}  // namespace migsoak::engine
