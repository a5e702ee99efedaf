#include "engine/upgrade_attempt.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <regex>
#include <utility>

#include "base/text.h"
#include "engine/hang_diagnosis.h"
#include "engine/quiet_point.h"
#include "ops/modes/migration_settings.h"
#include "ops/modes/status.h"

namespace migsoak::engine {

using base::Deadline;
using base::ErrorKind;
using base::Result;
using ops::MigrationResult;
using ops::ProcessOrder;
using std::chrono::seconds;
namespace kind = record::event_kind;
namespace fs = std::filesystem;

namespace {

// A new process that has the guest's state and lives answers QMP at once; how long it is given to.
constexpr seconds kArrivedAnswerMax{2};

// An error ends in a process's last lines. Less what it had said before (in place one process is old and new side), and
// its warnings where there is anything else.
std::string to_the_point(std::string error, const std::vector<std::string>& said_before) {
  for (const std::string& line : said_before) {
    const std::size_t at = error.find(line + " | ");
    if (at != std::string::npos) error.erase(at, line.size() + 3);
    if (!line.empty() && error.ends_with(line))
      error.replace(error.size() - line.size(), line.size(), "it said nothing");
  }
  static const std::regex warning(R"(qemu-system-\w+: [^|]*warning: [^|]*\| )");
  return std::regex_replace(error, warning, "");
}

bool answers(const Vm& vm) {
  return vm.machine->alive() && vm.machine->qmp().connected();
}

}  // namespace

UpgradeAttempt::UpgradeAttempt(IterationContext& iteration, const ops::UpgradeFailure& failure,
                               Verification& verification)
    : lineage_(iteration.lineage),
      context_(iteration.lineage.context()),
      journal_(iteration.journal),
      mode_(iteration.mode),
      failure_(failure),
      verification_(verification),
      session_(lineage_, journal_, mode_, ends_) {}

Result<Vm*> UpgradeAttempt::run(Vm& source) {
  began_ = base::Clock::now();
  began_at_ms_ = journal_.at_ms();
  ends_.source = &source;
  source_side_ = source.machine->spec().side;
  ram_ = source.ram;
  said_before_ = source.machine->last_lines();
  (void)lineage_.channel().take_gap();
  const Deadline deadline = Deadline::in(seconds(context_.scenario.upgrade.deadline_s));
  const ops::MigrationOutcome outcome = attempt(deadline);
  error_ = outcome.error;
  result_ = ops::to_string(outcome.result);
  interrupted_ = outcome.interrupted;
  if (harness_error_) return tl::unexpected<base::Error>(*harness_error_);
  const bool arrived = outcome.result == MigrationResult::completed && ends_.destination != nullptr;
  if (!interrupted_ && arrived && new_side_runs(deadline)) {
    // The sabotage came to nothing; the guest must not be taken from where it runs.
    guest_ = ends_.destination;
    fate_ = "destination";
    if (ends_.source != nullptr) end(*std::exchange(ends_.source, nullptr));
    lineage_.set_current(guest_);
  } else if (!interrupted_) {
    if (outcome.result == MigrationResult::hang) note_hang();
    clear_new_side();
    rescue();
  }
  remove_traces();
  session_.forget_ram();
  ram_.reset();
  if (interrupted_ || context_.stop.level() >= 2) {
    return base::fail(ErrorKind::interrupted, "interrupted while an upgrade was made to fail");
  }
  if (guest_ != nullptr) {
    if (const auto verified = verify(); !verified) {
      if (verified.error().kind == ErrorKind::interrupted) return tl::unexpected(verified.error());
      intact_ = false;
      error_ += fmt::format("; verification by the guest: {}", verified.error().describe());
    }
  }
  record("qemu:" + journal_.plan().destination_side, next_id_);
  return guest_;
}

// The migration of the plan as it would be, but for the sabotage.
ops::MigrationOutcome UpgradeAttempt::attempt(Deadline deadline) {
  const ProcessOrder order = mode_.needs.process_order;
  ops::MigrationOutcome failed;
  const auto fail_with = [&failed](const base::Error& error) {
    failed.error = error.describe();
    failed.interrupted = error.kind == ErrorKind::interrupted;
    failed.result = error.kind == ErrorKind::timeout ? MigrationResult::hang : MigrationResult::destination_lost;
    return failed;
  };
  session_.prepare();
  VmLaunch& prepared = session_.prepared();
  const std::string qemu = prepared.spec.qemu;
  if (failure_.sabotage_machine != nullptr) {
    const auto sabotaged = failure_.sabotage_machine(prepared.spec, order, prepared.state_file);
    if (!sabotaged) {
      harness_error_ = sabotaged.error();
      return fail_with(sabotaged.error());
    }
  }
  // What is no QEMU needs no environment. In place it would be env(1) that is exec'ed and finds the file missing, when
  // the old image is gone (Machine::set_exec).
  if (prepared.spec.qemu != qemu) prepared.spec.env = ends_.source->machine->spec().env;
  if (order == ProcessOrder::beside || order == ProcessOrder::waiting) {
    const Result<Vm*> spawned = lineage_.spawn(prepared, journal_);
    if (!spawned) return fail_with(spawned.error());
    ends_.destination = *spawned;
    next_id_ = ends_.destination->process_id;
  }
  if (order == ProcessOrder::beside) {
    if (const auto ready = lineage_.make_ready(*ends_.destination, deadline); !ready) return fail_with(ready.error());
  }
  auto migration = session_.begin(deadline, *this);
  if (!migration) return fail_with(migration.error());
  if (order == ProcessOrder::in_place) sample_before_teardown(lineage_, journal_, *ends_.source);
  if (failure_.sabotage_channels != nullptr) failure_.sabotage_channels(migration->channels, order);
  state_file_ = migration->channels.state_file;
  ops::MigrationOutcome outcome = mode_.run(*migration);
  if (ends_.destination != nullptr) next_id_ = ends_.destination->process_id;
  return outcome;
}

Result<hypervisor::Machine*> UpgradeAttempt::raise(Deadline deadline) {
  if (failure_.sabotage_saved_state != nullptr && mode_.needs.process_order == ProcessOrder::afterwards) {
    failure_.sabotage_saved_state(state_file_);
  }
  return session_.raise(deadline);
}

Result<void> UpgradeAttempt::release_source() {
  // The mode drops the file when it has been loaded; until the guest runs, it is the only way back.
  kept_file_ = state_file_ + ".kept";
  std::error_code error;
  fs::create_hard_link(state_file_, kept_file_, error);
  if (error) return base::fail(ErrorKind::environment, "can't keep " + state_file_ + ": " + error.message());
  sample_before_teardown(lineage_, journal_, *ends_.source);
  lineage_.retire(*std::exchange(ends_.source, nullptr), /*by_quit=*/true, journal_);
  return {};
}

// The mode says that the guest has arrived. Sabotages it, and asks.
bool UpgradeAttempt::new_side_runs(Deadline deadline) {
  if (failure_.sabotage_arrived != nullptr) failure_.sabotage_arrived(*ends_.destination->machine);
  const auto status = ends_.destination->machine->qmp().execute("query-status", base::Json::object(),
                                                                Deadline::in(kArrivedAnswerMax).sooner(deadline));
  if (status && base::json_get<bool>(*status, "running", false)) return guest_beats(*ends_.destination);
  if (status) {
    error_ = fmt::format("the new process has loaded the guest's state and does not run it (status {})",
                         base::printable(base::json_get<std::string>(*status, "status", "?"), 60));
    return false;
  }
  error_ = "the new process has loaded the guest's state: " + status.error().describe();
  result_ = ops::to_string(MigrationResult::hang);
  if (answers(*ends_.destination)) note_hang();
  return false;
}

void UpgradeAttempt::note_hang() {
  hang_ = hang_evidence(lineage_);
  const Stuck stuck = find_stuck(lineage_);
  if (!stuck.subject.empty()) hang_["stuck"] = stuck.subject + " " + stuck.why;
}

// What the process said in the attempt.
void UpgradeAttempt::keep_lines(const Vm& vm) {
  for (const std::string& line : vm.machine->last_lines()) {
    if (std::find(said_before_.begin(), said_before_.end(), line) == said_before_.end()) log_.push_back(line);
  }
}

// An expected end, whatever its status.
void UpgradeAttempt::end(Vm& vm) {
  lineage_.drain_logs(journal_);
  vm.machine->kill();
  lineage_.drain_logs(journal_);
  lineage_.retire(vm, /*by_quit=*/false, journal_);
}

// The new side's process goes, hung or not, before anybody else touches the guest.
void UpgradeAttempt::clear_new_side() {
  if (ends_.destination == nullptr) return;
  ran_on_new_side_ = ends_.destination->machine->qmp().has_event("RESUME");
  keep_lines(*ends_.destination);
  // Failing is expected of it, dying of a signal is not: that is left to note_unexpected_ends().
  const auto status = ends_.destination->machine->exit_status();
  if (!status || status->signal == 0) end(*ends_.destination);
  ends_.destination = nullptr;
}

// What an operator would do: go on with the old process; where it has gone, start the old build again from the state
// that it saved.
void UpgradeAttempt::rescue() {
  const ProcessOrder order = mode_.needs.process_order;
  const bool quits_first = ends_.source == nullptr && order == ProcessOrder::afterwards;
  fate_ = "lost";
  if (ends_.source != nullptr && answers(*ends_.source)) {
    if (return_to_source()) return;
  } else if (ends_.source != nullptr && ends_.source->machine->alive() && order != ProcessOrder::in_place) {
    fate_ = "unknown";  // it does not answer, and may well go on running the guest
  }
  if (ends_.source != nullptr) {
    keep_lines(*ends_.source);
    Vm& source = *std::exchange(ends_.source, nullptr);
    // As with the new side: that the old one died of a signal is left to note_unexpected_ends(). In place they are one.
    const auto status = source.machine->exit_status();
    if (order == ProcessOrder::in_place || !status || status->signal == 0) end(source);
  }
  if (quits_first && !ran_on_new_side_) start_again();
}

bool UpgradeAttempt::return_to_source() {
  const bool stopped = ends_.source->machine->qmp().has_event("STOP");
  // A guest that ran on the new side has gone on from there: its memory, shared or its disks, is not as it was.
  if (!ops::restore_source(context_.reactor, *ends_.source->machine, /*may_continue=*/!ran_on_new_side_)) return false;
  if (!guest_beats(*ends_.source)) return false;
  guest_ = ends_.source;
  fate_ = "source";
  how_ = stopped ? "resumed" : "kept-running";
  return true;
}

void UpgradeAttempt::start_again() {
  Vm past;  // all that is left of it
  past.ram = ram_;
  const Deadline deadline = Deadline::in(seconds(context_.scenario.deadline.spawn_s));
  VmLaunch again = lineage_.prepare(source_side_, &mode_, &past, lineage_.devices());
  const Result<Vm*> spawned = lineage_.spawn(std::move(again), journal_);
  if (!spawned) {
    error_ += "; the old build does not start again: " + spawned.error().describe();
    return;
  }
  Vm& vm = **spawned;
  const Result<void> loaded = load_again(vm, deadline);
  if (loaded) {
    lineage_.set_current(&vm);
    if (guest_beats(vm)) {
      guest_ = &vm;
      fate_ = "source";
      how_ = "started-again";
      return;
    }
  } else {
    error_ += "; nor does the old build take its state back: " + loaded.error().describe();
    interrupted_ = loaded.error().kind == ErrorKind::interrupted;
  }
  end(vm);
}

// docs/devel/migration/CPR.rst, "cpr-reboot": mode and capability as when it was saved.
Result<void> UpgradeAttempt::load_again(Vm& vm, Deadline deadline) {
  MIGSOAK_TRY(lineage_.make_ready(vm, deadline));
  qmp::Monitor& client = vm.machine->qmp();
  ops::MigrationSettings settings;
  settings.mode = mode_.name;
  settings.ignore_shared = true;
  MIGSOAK_TRY(ops::PendingSettings(*vm.machine, settings).confirm(deadline));
  MIGSOAK_TRY(client.execute("migrate-incoming", {{"uri", "file:" + kept_file_}}, deadline));
  const auto over = [&] { return client.has_event("RESUME") || !vm.machine->alive() || !client.connected(); };
  const auto waited = context_.reactor.run_until(over, deadline);
  if (client.has_event("RESUME") && answers(vm)) return {};
  if (waited == proc::Wait::interrupted) return base::fail(ErrorKind::interrupted, "interrupted");
  const std::vector<std::string> lines = vm.machine->last_lines();
  return base::fail(waited == proc::Wait::timeout ? ErrorKind::timeout : ErrorKind::subject,
                    lines.empty() ? "it said nothing" : base::printable(base::join(lines, " | "), 1000));
}

bool UpgradeAttempt::guest_beats(Vm& vm) {
  lineage_.channel().make_active(vm.agent_stream);
  const auto beat = lineage_.channel().wait_next_heartbeat(Deadline::in(seconds(context_.scenario.deadline.answer_s)));
  if (beat) return true;
  interrupted_ = interrupted_ || beat.error().kind == ErrorKind::interrupted;
  error_ += "; no heartbeat of the guest: " + beat.error().describe();
  return false;
}

// kind timeout, subject: the guest does not answer as it should.
Result<void> UpgradeAttempt::verify() {
  const GuestScenario& guest = context_.scenario.guest;
  if (guest.workload != "verify") return {};
  MIGSOAK_ASSIGN(const guest::VerifyReport report,
                 lineage_.channel().verify(guest.ram_verify_bytes, guest.disk_verify_bytes,
                                           Deadline::in(seconds(context_.scenario.deadline.answer_s))));
  intact_ = report.ram.good() && std::all_of(report.disks.begin(), report.disks.end(),
                                             [](const guest::DiskReport& disk) { return disk.good(); });
  if (!*intact_) verification_.record(report);
  return {};
}

// Sockets of processes that were killed, and what the sabotage made. Anything else that is left shows at the quiet
// point.
void UpgradeAttempt::remove_traces() {
  const VmLaunch& prepared = session_.prepared();
  std::vector<std::string> paths = {prepared.main_socket, prepared.cpr_socket, prepared.state_file, state_file_,
                                    kept_file_};
  if (failure_.traces != nullptr) {
    for (std::string& path : failure_.traces(prepared.spec)) paths.push_back(std::move(path));
  }
  std::error_code ignored;
  for (const std::string& path : paths) {
    if (!path.empty()) fs::remove(path, ignored);
  }
}

void UpgradeAttempt::record(const std::string& new_side, std::int64_t process_id) {
  lineage_.drain_logs(journal_);
  error_ = to_the_point(base::printable(error_, 2000), said_before_);
  const guest::HeartbeatGap gap = lineage_.channel().take_gap();
  trouble_.declared = {
      record::TroubleCause::upgrade_failure, failure_.name, "", {new_side}, {record::outcome::kAttemptFails}, ""};
  trouble_.result = result_;
  trouble_.phase = journal_.phase();
  trouble_.at_ms = began_at_ms_;
  trouble_.took_ms = base::milliseconds_between(began_, base::Clock::now());
  trouble_.text = fmt::format("upgrade by {} made to fail ({}): {}; the guest: {}{}", mode_.name, failure_.name,
                              error_.empty() ? result_ : error_, fate_, how_.empty() ? "" : " (" + how_ + ")");
  trouble_.why = error_;
  trouble_.mode = mode_.name;
  trouble_.fate = fate_;
  trouble_.how = how_;
  trouble_.intact = intact_;
  trouble_.seen = record::seen_of_upgrade(trouble_);
  base::Json more = base::Json::object();
  if (guest_ != nullptr) more["gap_ms"] = gap.host_ms;
  if (!log_.empty()) more["log"] = log_;
  if (!hang_.is_null()) more["hang"] = hang_;
  event_ = record::record_trouble(journal_, trouble_, process_id, more);
}

void UpgradeAttempt::conclude(bool migrates) {
  if (guest_ == nullptr || !event_) return;
  trouble_.migrates = migrates;
  journal_.amend(*event_, "migrates", migrates);
  journal_.amend(*event_, "seen", record::to_string(record::seen_of_upgrade(trouble_)));
}

}  // namespace migsoak::engine
