// The catalog of probes, expanded from probes.def, and the one way to run them.
#include <fmt/format.h>

#include <algorithm>
#include <exception>

#include "base/deadline.h"
#include "base/text.h"
#include "probes/ancestry.h"
#include "proc/look_until.h"
#include "record/journal.h"
#include "record/reads.h"

namespace migsoak::probes {

#define PROBE(name, summary) void run_##name(Scene&, ProbeState&, record::Observation&);
#include "probes/probes.def"
#undef PROBE

const std::vector<Probe>& probes() {
  static const std::vector<Probe> table = {
#define PROBE(name, summary) {#name, summary, run_##name},
#include "probes/probes.def"
#undef PROBE
  };
  return table;
}

ProbeState::ProbeState(int lane) : impl_(std::make_unique<Impl>()) {
  impl_->lane = lane;
}
ProbeState::~ProbeState() = default;

void add_sample(record::Observation& into, const Subject& subject, std::string metric, double value) {
  into.samples.push_back({subject.name, subject.process_id, std::move(metric), value});
}

void record_event(const Scene& scene, const char* kind, const std::string& subject, std::int64_t process_id,
                  const std::string& text, base::Json detail, record::Observation& into) {
  record::Journal journal(into);
  journal.event(kind, subject)
      .process(process_id)
      .text(base::printable(text))
      .detail(std::move(detail))
      .since(scene.phase, scene.since_iteration_start_ms);
}

const Subject* subject_named(const Scene& scene, const std::string& name) {
  const auto it =
      std::find_if(scene.subjects.begin(), scene.subjects.end(), [&](const Subject& s) { return s.name == name; });
  return it == scene.subjects.end() ? nullptr : &*it;
}

namespace {

// Not even dying: a process that is on its way out has lost its memory and descriptors already.
bool lives(const ProbeState::Impl& state, const Subject& subject) {
  const auto before = state.stats.find(subject.process_id);
  const auto gone = [&] {
    const auto stat = proc::read_stat(subject.pid);
    return !stat || stat->state == 'Z' || stat->state == 'X' ||
           (before != state.stats.end() && before->second.start_ticks != stat->start_ticks);
  };
  give_time_to_vanish(gone);
  return !gone();
}

}  // namespace

void note_unread(const Scene& scene, const char* read, const std::string& subject, std::int64_t process_id,
                 const std::string& why, record::Observation& into) {
  record::Journal journal(into);
  record::record_failed_read({read, subject, process_id, why, scene.phase, scene.since_iteration_start_ms}, journal);
}

void note_vanished(const Scene& scene, ProbeState& state, const Subject& subject, const std::string& why,
                   record::Observation& into) {
  if (!state.impl().vanished.insert(subject.process_id).second) return;
  if (lives(state.impl(), subject)) return note_unread(scene, "samples", subject.name, subject.process_id, why, into);
  record_event(scene, record::event_kind::kUnsettled, subject.name, subject.process_id,
               fmt::format("{} vanished while it was being read: {}", subject.name, why), {}, into);
}

bool has_vanished(ProbeState& state, const Subject& subject) {
  return state.impl().vanished.count(subject.process_id) != 0;
}

void give_time_to_vanish(const std::function<bool()>& all_gone) {
  proc::look_until(all_gone, base::Deadline::in(std::chrono::milliseconds(50)));
}

namespace {

// Reads every subject's stat; what is gone, or dead and not yet waited for, is no subject of this look.
void check_subjects(const Scene& scene, ProbeState& state, record::Observation& into) {
  auto& stats = state.impl().stats;
  for (const Subject& subject : scene.subjects) {
    if (has_vanished(state, subject)) continue;
    auto stat = proc::read_stat(subject.pid);
    if (!stat) {
      note_vanished(scene, state, subject, stat.error().message, into);
      continue;
    }
    const auto before = stats.find(subject.process_id);
    if (stat->state == 'Z' || stat->state == 'X') {
      note_vanished(scene, state, subject, "it has ended", into);
    } else if (before != stats.end() && before->second.start_ticks != stat->start_ticks) {
      note_vanished(scene, state, subject, "its pid belongs to another process now", into);
    } else {
      stats[subject.process_id] = std::move(*stat);
    }
  }
}

void harness_error(const Scene& scene, const std::string& what, record::Observation& into) {
  record_event(scene, record::event_kind::kHarnessError, "harness", 0, what, {}, into);
}

void begin_look(ProbeState& state) {
  auto& impl = state.impl();
  impl.stats.clear();
  impl.fds.clear();
  impl.unix_sockets.clear();
  impl.vanished.clear();
}

}  // namespace

void run_probes(Scene& scene, ProbeState& state, record::Observation& into) {
  const std::size_t first_sample = into.samples.size();
  begin_look(state);
  try {
    check_subjects(scene, state, into);
  } catch (const std::exception& error) {
    harness_error(scene, fmt::format("probes: {}", error.what()), into);
  }
  for (const Probe& probe : probes()) {
    try {
      probe.run(scene, state, into);
    } catch (const std::exception& error) {
      harness_error(scene, fmt::format("probe {}: {}", probe.name, error.what()), into);
    }
  }
  try {
    check_subjects(scene, state, into);  // what died meanwhile was read half
    const auto half_read = [&](const record::Sample& sample) {
      return sample.process_id != 0 && state.impl().vanished.count(sample.process_id) != 0;
    };
    const auto begin = into.samples.begin() + static_cast<std::ptrdiff_t>(first_sample);
    into.samples.erase(std::remove_if(begin, into.samples.end(), half_read), into.samples.end());
  } catch (const std::exception& error) {
    harness_error(scene, fmt::format("probes: {}", error.what()), into);
  }
}

void look_before_teardown(Scene& scene, ProbeState& state, record::Observation& into) {
  begin_look(state);
  try {
    look_at_children(scene, state, into, /*with_samples=*/false);
    for (const Subject& subject : scene.subjects) expect_next_generation(state.impl(), subject);
  } catch (const std::exception& error) {
    harness_error(scene, fmt::format("look before teardown: {}", error.what()), into);
  }
}

}  // namespace migsoak::probes
