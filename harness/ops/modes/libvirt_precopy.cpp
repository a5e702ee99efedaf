// precopy between two libvirtds: the source's daemon has the other start the destination's QEMU, moves the guest, and
// ends its own. Where its time goes is told beside libvirt's own figures: until the destination's QEMU is there
// (libvirt_prepare_ms), until, with the flag "postcopy", the guest goes on there (libvirt_postcopy_ms), until the
// source's has sent everything (phase_completed_ms), until the call returns (libvirt_call_ms).
#include <algorithm>
#include <optional>
#include <utility>

#include "base/text.h"
#include "ops/modes/mode.h"
#include "ops/modes/peer_status.h"
#include "ops/modes/phase_facts.h"
#include "ops/modes/status.h"

namespace migsoak::ops {

namespace {

constexpr std::chrono::milliseconds kLookEvery{5};
// A job that was aborted ends soon; libvirt undoes the rest of a failed migration within the call.
constexpr std::chrono::seconds kAbortMax{10};
constexpr std::chrono::seconds kFiguresMax{2};
constexpr std::chrono::seconds kStatusMax{3};

bool has_flag(const record::LibvirtWay& way, const std::string& flag) {
  return std::find(way.flags.begin(), way.flags.end(), flag) != way.flags.end();
}

class LibvirtPrecopy {
 public:
  explicit LibvirtPrecopy(MigrationContext& context)
      : context_(context), watch_(*context.source), postcopy_(has_flag(context.channels.libvirt, "postcopy")) {}

  MigrationOutcome run() {
    context_.source->qmp().take_events();
    began_ = base::Clock::now();
    auto begun =
        context_.source->begin_migration(*context_.next, context_.channels.transport, context_.channels.libvirt);
    if (!begun) return finish(MigrationResult::failed, begun.error().describe());
    migration_ = std::move(*begun);
    context_.listener.started();
    auto waited = wait([this] { return migration_->over() || migration_->has_destination(); });
    if (waited == proc::Wait::ready && migration_->has_destination()) {
      note("libvirt_prepare_ms");
      raise();
      waited = wait([this] { return migration_->over(); });
    }
    if (waited == proc::Wait::interrupted) return interrupted();
    if (waited == proc::Wait::timeout) return hang();
    note("libvirt_call_ms");
    if (!migration_->result()) return failed(migration_->result().error().describe());
    return completed();
  }

 private:
  void look() {
    context_.listener.progress();
    phases_.publish(watch_, context_.listener);
    if (!postcopy_ || migration_ == nullptr) return;
    if (watch_.saw("postcopy-active")) {
      postcopy_ = false;
      note("libvirt_postcopy_ms");
    } else if (watch_.saw("active")) {
      migration_->start_postcopy();
    }
  }
  proc::Wait wait(const std::function<bool()>& predicate) {
    const auto looking = [&] {
      look();
      return predicate();
    };
    return context_.reactor.run_until(looking, context_.deadline, kLookEvery);
  }
  void note(const char* metric) { times_.emplace_back(metric, base::milliseconds_between(began_, base::Clock::now())); }

  void raise() {
    auto raised = context_.listener.raise(context_.deadline);
    if (raised) {
      context_.destination = *raised;
    } else {
      raise_error_ = std::move(raised.error());
    }
  }

  // The guest is there by libvirt's word, so its QEMU must be.
  MigrationOutcome completed() {
    if (context_.destination == nullptr) {
      if (raise_error_ && raise_error_->kind == base::ErrorKind::interrupted) return interrupted();
      const std::string why = raise_error_ ? raise_error_->describe() : "libvirt did not tell of its start";
      return finish(MigrationResult::source_lost,
                    "libvirt migrated the guest, and the destination is not there: " + why);
    }
    MigrationOutcome outcome = finish(MigrationResult::completed, "");
    for (auto& figure : migration_->figures(base::Deadline::in(kFiguresMax))) outcome.figures.push_back(figure);
    // libvirt has ended it; nothing can be asked of it any more.
    (void)context_.listener.release_source();
    context_.source = nullptr;
    return outcome;
  }

  MigrationOutcome failed(const std::string& words) {
    std::string error = words;
    if (raise_error_) error += "; the destination: " + raise_error_->describe();
    if (!context_.source->alive()) return finish(MigrationResult::source_lost, error);
    const bool lost = context_.destination != nullptr && !context_.destination->alive();
    MigrationOutcome outcome = finish(lost ? MigrationResult::destination_lost : MigrationResult::failed, error);
    const auto status =
        context_.source->qmp().execute("query-status", base::Json::object(), base::Deadline::in(kStatusMax));
    outcome.source_runs = status && base::json_get<bool>(*status, "running", false);
    return outcome;
  }

  MigrationOutcome hang() {
    const double passed_ms = base::milliseconds_between(began_, base::Clock::now());
    migration_->abort();
    const auto waited =
        context_.reactor.run_until([this] { return migration_->over(); }, base::Deadline::in(kAbortMax), kLookEvery);
    std::string error = "no end after " + std::to_string(static_cast<long>(passed_ms)) + " ms, waiting for " +
                        (context_.destination == nullptr && !raise_error_ ? "the destination's start"
                         : watch_.saw("completed")                        ? "libvirt to conclude"
                                                                          : "the source to complete");
    error += waited == proc::Wait::ready ? "; aborted" : "; it could not be aborted";
    return finish(MigrationResult::hang, error);
  }

  MigrationOutcome interrupted() {
    migration_->abort();
    MigrationOutcome outcome;
    outcome.interrupted = true;
    outcome.error = "interrupted";
    return outcome;
  }

  MigrationOutcome finish(MigrationResult result, const std::string& error) {
    MigrationOutcome outcome;
    outcome.result = result;
    outcome.error = base::printable(error, 2000);
    outcome.total_ms = base::milliseconds_between(began_, base::Clock::now());
    outcome.figures = times_;
    return outcome;
  }

  MigrationContext& context_;
  PeerStatus watch_;
  PhaseFacts phases_;
  bool postcopy_;  // to be asked for
  std::unique_ptr<hypervisor::DrivenMigration> migration_;
  std::vector<std::pair<std::string, double>> times_;
  std::optional<base::Error> raise_error_;
  base::Clock::time_point began_;
};

}  // namespace

MigrationOutcome run_libvirt_precopy(MigrationContext& context) {
  return LibvirtPrecopy(context).run();
}

}  // namespace migsoak::ops
