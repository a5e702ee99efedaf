#include "compat/attempt.h"

#include <algorithm>

#include "base/text.h"

namespace migsoak::compat {
using base::ErrorKind;

namespace {

// One VM's start, or one load, takes some 30 ms; a machine that is a hundred times slower is a hang.
constexpr auto kStepMax = std::chrono::seconds(10);

base::Deadline step(base::Deadline deadline) {
  return base::Deadline::in(kStepMax).sooner(deadline);
}

// What a VM did wrong is an outcome; what the harness or the user did travels up.
bool is_ours(const base::Error& error) {
  return error.kind == ErrorKind::interrupted || error.kind == ErrorKind::environment;
}

bool is_driver_state(GuestState state) {
  return state == GuestState::legacy_driver || state == GuestState::modern_driver;
}

struct Trial {
  VmPair& vms;
  const Layout& layout;
  GuestState state;
  const std::vector<std::size_t>& subset;
  const std::vector<ConfigView>& views;
  base::Deadline deadline;
  Attempt result;

  base::Result<bool> start();
  base::Result<void> prepare();
  base::Result<bool> migrate();
  base::Result<void> look_after();
};

// False: a VM did not come up, and the result says which and why.
base::Result<bool> Trial::start() {
  auto from = vms.source->wait_ready(step(deadline));
  auto to = vms.destination->wait_ready(step(deadline));
  for (const auto* ready : {&from, &to}) {
    if (!*ready && is_ours(ready->error())) return tl::unexpected<base::Error>(ready->error());
  }
  if (from && to) return true;
  const bool timeout =
      (!from && from.error().kind == ErrorKind::timeout) || (!to && to.error().kind == ErrorKind::timeout);
  result.outcome = timeout ? AttemptOutcome::trouble : AttemptOutcome::not_started;
  result.side = !from ? Side::from : Side::to;
  const auto lines = (!from ? vms.source : vms.destination)->lines();
  result.culprit = layout.device_in_start_error(lines);
  result.both_sides = !from && !to && layout.device_in_start_error(vms.destination->lines()) == result.culprit;
  result.lines = lines;
  if (lines.empty()) result.lines.push_back(!from ? from.error().message : to.error().message);
  return false;
}

base::Result<void> Trial::prepare() {
  MIGSOAK_TRY(prepare_access(*vms.source, layout, step(deadline)));
  if (state == GuestState::untouched) {
    MIGSOAK_TRY(prepare_access(*vms.destination, layout, step(deadline)));
    MIGSOAK_ASSIGN(result.fresh, read_images(*vms.destination, layout, step(deadline)));
  }
  if (is_driver_state(state)) {
    MIGSOAK_ASSIGN(result.virtio_before, start_drivers(*vms.source, layout, state, subset, views, step(deadline)));
  } else {
    MIGSOAK_TRY(bring_about(*vms.source, layout, state, subset, views, step(deadline)));
  }
  MIGSOAK_ASSIGN(result.before, read_images(*vms.source, layout, step(deadline)));
  return {};
}

// False: it did not load.
base::Result<bool> Trial::migrate() {
  auto stream = vms.source->save(step(deadline));
  if (!stream) {
    if (stream.error().kind != ErrorKind::subject) return tl::unexpected<base::Error>(std::move(stream.error()));
    result.outcome = AttemptOutcome::not_migratable;
    result.lines = {stream.error().message};
    result.culprit = layout.device_in_load_error(result.lines);
    return false;
  }
  MIGSOAK_TRY(vms.destination->begin_load(std::move(*stream), step(deadline)));
  MIGSOAK_ASSIGN(const auto loaded, vms.destination->wait_loaded(step(deadline)));
  if (loaded.good) {
    result.outcome = AttemptOutcome::loaded;
    return true;
  }
  result.outcome = AttemptOutcome::refused;
  result.lines = loaded.lines;
  result.culprit = layout.device_in_load_error(result.lines);
  if (loaded.status != "exit status 1") result.lines.push_back("the destination: " + loaded.status);
  return false;
}

base::Result<void> Trial::look_after() {
  MIGSOAK_ASSIGN(result.after, read_images(*vms.destination, layout, step(deadline)));
  if (!is_driver_state(state)) return {};
  MIGSOAK_ASSIGN(result.virtio_after, look_again(*vms.destination, layout, state, subset, views, step(deadline)));
  // A source that has gone after its state was sent tells no serial: there is a verdict all the same.
  if (auto asked = ask_serials(*vms.source, layout, state, subset, views, result.virtio_before, step(deadline));
      !asked && is_ours(asked.error())) {
    return asked;
  }
  return ask_serials(*vms.destination, layout, state, subset, views, result.virtio_after, step(deadline));
}

}  // namespace

base::Result<VmPair> start_pair(CompatHost& lab, const BuildPair& builds, const Layout& layout) {
  VmPair pair;
  if (layout.needs_vhost_exports()) {
    MIGSOAK_ASSIGN(pair.exports, VhostExports::start(lab, builds.from, layout, base::Deadline::in(kStepMax)));
  }
  const auto start = [&](Side side) -> base::Result<std::unique_ptr<ProbeVm>> {
    MIGSOAK_ASSIGN(auto hardware, layout.hardware(side, pair.exports ? pair.exports->sockets(side) : VhostSockets{}));
    return ProbeVm::start(lab, side == Side::from ? builds.from : builds.to, layout.machine(), std::move(hardware),
                          side == Side::to);
  };
  MIGSOAK_ASSIGN(pair.source, start(Side::from));
  MIGSOAK_ASSIGN(pair.destination, start(Side::to));
  return pair;
}

base::Result<Attempt> attempt(VmPair& vms, const Layout& layout, GuestState state,
                              const std::vector<std::size_t>& subset, const std::vector<ConfigView>& views,
                              base::Deadline deadline) {
  Trial trial{vms, layout, state, subset, views, deadline, {}};
  MIGSOAK_ASSIGN(const bool started, trial.start());
  if (!started) return std::move(trial.result);
  const auto all = [&]() -> base::Result<void> {
    MIGSOAK_TRY(trial.prepare());
    MIGSOAK_ASSIGN(const bool loaded, trial.migrate());
    if (loaded) {
      MIGSOAK_TRY(trial.look_after());
    }
    return {};
  };
  if (auto done = all(); !done) {
    if (is_ours(done.error())) return tl::unexpected<base::Error>(std::move(done.error()));
    trial.result.outcome = AttemptOutcome::trouble;
    trial.result.lines = {done.error().describe()};
    for (const auto* vm : {&vms.source, &vms.destination}) {
      for (std::string& line : (*vm)->lines()) trial.result.lines.push_back(std::move(line));
    }
    trial.result.culprit = layout.device_in_load_error(trial.result.lines);
  }
  return std::move(trial.result);
}

}  // namespace migsoak::compat
