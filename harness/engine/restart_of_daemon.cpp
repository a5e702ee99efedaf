// The restart of a driver's daemon: its VM runs on without it, and is its own again afterwards.
#include <fmt/format.h>

#include <utility>

#include "engine/restarts.h"

namespace migsoak::engine {

using base::Deadline;
using base::Result;
using std::chrono::seconds;

Result<void> RestartRunner::restart(DaemonInstance& instance, Restart& restart) {
  const auto& deadlines = lineage_.context().scenario.deadline;
  DriverDaemons& daemons = lineage_.daemons();
  double last = journal_.at_ms();
  const auto lap = [&] {
    const double now = journal_.at_ms();
    return now - std::exchange(last, now);
  };
  MIGSOAK_TRY(stop(instance, restart));
  restart.stop_ms = lap();
  Trouble trouble{instance.name, instance.process_id,
                  fmt::format("answer of {} after its {}", instance.name, words_of(restart.planned))};
  if (Result<void> started = daemons.start_again(instance, journal_); !started) {
    return fail(restart, "lost", std::move(started.error()), std::move(trouble));
  }
  trouble.process_id = instance.process_id;
  restart.start_ms = lap();
  if (Result<void> joined = daemons.rejoin(instance, Deadline::in(seconds(deadlines.spawn_s))); !joined) {
    // Of one that is there again, what is missing is what it had.
    const bool forgot = joined.error().kind == base::ErrorKind::subject && instance.daemon->alive();
    return fail(restart, forgot ? "not-reconnected" : "lost", std::move(joined.error()), std::move(trouble));
  }
  restart.reconnect_ms = lap();
  auto beat = lineage_.channel().wait_next_heartbeat(Deadline::in(seconds(deadlines.answer_s)));
  if (beat) return {};
  return fail(
      restart, "lost", std::move(beat.error()),
      {"guest", 0, fmt::format("heartbeat of the guest after the {} of {}", words_of(restart.planned), instance.name)});
}

Result<void> RestartRunner::stop(DaemonInstance& instance, Restart& restart) {
  hypervisor::DriverDaemon& daemon = *instance.daemon;
  instance.restarting = true;
  daemon.begin_stop(restart.planned.how == "kill");
  MIGSOAK_TRY(wait_end([&] { return !daemon.alive(); }, [&] { daemon.begin_stop(/*by_kill=*/true); },
                       {instance.name, instance.process_id, "end of " + instance.name}, restart));
  lineage_.drain_logs(journal_);  // its lines go with it
  lineage_.daemons().note_stopped(instance, journal_);
  return {};
}

}  // namespace migsoak::engine
