#include "compat/batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "base/text.h"
#include "compat/batch_run.h"

namespace migsoak::compat {
using base::ErrorKind;

namespace {

constexpr std::size_t kReasonLines = 4;

std::string reason_text(const std::vector<std::string>& lines) {
  // A refused start warns first and says the reason last.
  const std::size_t first = lines.size() > kReasonLines ? lines.size() - kReasonLines : 0;
  std::vector<std::string> last(lines.begin() + static_cast<std::ptrdiff_t>(first), lines.end());
  last.erase(std::unique(last.begin(), last.end()), last.end());
  return last.empty() ? "it said nothing" : base::printable(base::join(last, " | "), 600);
}

std::string side_name(const BuildPair& builds, Side side) {
  const fleet::Build& build = side == Side::from ? builds.from : builds.to;
  return "QEMU " + build.version;
}

}  // namespace

base::Result<std::vector<DeviceFacts>> Batch::run() {
  Indices all;
  for (std::size_t i = 0; i < facts_.size(); ++i) {
    facts_[i].unknown_reason = unfit_reason(facts_[i].device.driver);
    if (facts_[i].unknown_reason.empty()) all.push_back(i);
  }
  MIGSOAK_TRY(run_group(all));
  if (!refused_.empty()) {
    MIGSOAK_TRY(look_without_load(refused_));
  }
  return std::move(facts_);
}

base::Result<Layout> Batch::layout_of(const Indices& group) const {
  std::vector<DevicePair> devices;
  for (const std::size_t index : group) devices.push_back(facts_[index].device);
  return Layout::make(builds_.machine, builds_.placement, devices);
}

std::vector<ConfigView> Batch::views_of(const Indices& group) const {
  std::vector<ConfigView> views;
  for (const std::size_t index : group) views.push_back(facts_[index].view);
  return views;
}

base::Result<void> Batch::run_group(Indices group) {
  for (;;) {
    if (group.empty()) return {};
    if (deadline_.passed()) {
      for (const std::size_t index : group) facts_[index].unknown_reason = "not tried: no time left";
      return {};
    }
    const std::size_t before = group.size();
    MIGSOAK_ASSIGN(const bool good, first_look(group));
    if (good) return run_states(group);
    if (group.size() == before) return split(group);
  }
}

// The untouched state, with everything else that is learnt from its two VMs. False: try again with what is left of the
// group, or split it when nothing was taken out.
base::Result<bool> Batch::first_look(Indices& group) {
  MIGSOAK_ASSIGN(const Layout layout, layout_of(group));
  for (std::size_t i = 0; i < group.size(); ++i) facts_[group[i]].path = layout.devices()[i].path;
  auto spawned = start_pair(lab_, builds_, layout);
  if (!spawned && spawned.error().kind != ErrorKind::subject) return tl::unexpected<base::Error>(spawned.error());
  if (!spawned) {
    for (const std::size_t index : group) {
      if (needs_vhost_export(facts_[index].device.driver)) facts_[index].unknown_reason = spawned.error().describe();
    }
    std::erase_if(group, [&](std::size_t index) { return !facts_[index].unknown_reason.empty(); });
    return false;
  }
  VmPair vms = std::move(*spawned);
  MIGSOAK_ASSIGN(const Attempt result, attempt(vms, layout, GuestState::untouched, {}, {}, deadline_));
  for (std::size_t i = 0; i < result.fresh.size(); ++i) facts_[group[i]].view.image_to = result.fresh[i];
  for (std::size_t i = 0; i < result.before.size(); ++i) facts_[group[i]].view.image_from = result.before[i];
  if (result.outcome == AttemptOutcome::loaded) {
    MIGSOAK_TRY(look_at_masks(vms, layout, group, result));
    return true;
  }
  vms = {};
  if (result.culprit == Layout::kNone && result.outcome != AttemptOutcome::not_migratable) {
    // Before anyone searches for a culprit: it may be none of the devices.
    MIGSOAK_ASSIGN(const bool bare, bare_machine_loads());
    if (!bare) {
      for (const std::size_t index : group) {
        facts_[index].unknown_reason = "the machine without any device does no better: " + bare_reason_;
      }
      group.clear();
      return false;
    }
  }
  const std::size_t culprit = group.size() == 1 ? 0 : result.culprit;
  if (culprit == Layout::kNone) return false;
  const std::size_t index = group[culprit];
  give_up_on(index, result);
  group.erase(group.begin() + static_cast<std::ptrdiff_t>(culprit));
  return false;
}

// Nothing more can be tried with this device: its untouched state did not get through.
void Batch::give_up_on(std::size_t index, const Attempt& attempt) {
  DeviceFacts& facts = facts_[index];
  switch (attempt.outcome) {
    case AttemptOutcome::refused:
      note_one(index, GuestState::untouched, LoadOutcome::refused, attempt.lines);
      refused_.push_back(index);
      return;
    case AttemptOutcome::not_started:
      facts.unknown_to_both = attempt.both_sides;
      facts.unknown_reason =
          fmt::format("{} can't make it: {}", side_name(builds_, attempt.side), reason_text(attempt.lines));
      return;
    case AttemptOutcome::not_migratable:
      facts.unknown_reason =
          fmt::format("not migratable on {}: {}", side_name(builds_, Side::from), reason_text(attempt.lines));
      return;
    default: facts.unknown_reason = "no answer: " + reason_text(attempt.lines); return;
  }
}

base::Result<void> Batch::split(const Indices& group) {
  const auto middle = group.begin() + static_cast<std::ptrdiff_t>(group.size() / 2);
  MIGSOAK_TRY(run_group(Indices(group.begin(), middle)));
  return run_group(Indices(middle, group.end()));
}

base::Result<bool> Batch::bare_machine_loads() {
  if (!bare_loads_) {
    MIGSOAK_ASSIGN(const Layout layout, layout_of({}));
    MIGSOAK_ASSIGN(VmPair vms, start_pair(lab_, builds_, layout));
    MIGSOAK_ASSIGN(const Attempt result, attempt(vms, layout, GuestState::untouched, {}, {}, deadline_));
    bare_loads_ = result.outcome == AttemptOutcome::loaded;
    bare_reason_ = reason_text(result.lines);
  }
  return *bare_loads_;
}

base::Result<void> Batch::run_states(const Indices& group) {
  MIGSOAK_ASSIGN(const Layout layout, layout_of(group));
  const auto views = views_of(group);
  struct Round {
    GuestState state;
    Indices applicable;
    VmPair vms;
  };
  // All at once: they come up side by side while the first ones are under way.
  std::vector<Round> rounds;
  for (const GuestState state : kGuestStates) {
    if (state == GuestState::untouched) continue;
    Round round{state, {}, {}};
    const bool driver = state == GuestState::legacy_driver || state == GuestState::modern_driver;
    for (std::size_t i = 0; i < group.size(); ++i) {
      if (facts_[group[i]].unknown_reason.empty() && (!driver || driver_applies(state, views[i]))) {
        round.applicable.push_back(i);
      }
    }
    if (round.applicable.empty()) continue;
    auto spawned = start_pair(lab_, builds_, layout);
    if (!spawned && spawned.error().kind != ErrorKind::subject) return tl::unexpected<base::Error>(spawned.error());
    if (spawned) round.vms = std::move(*spawned);  // else run_state() tries once more
    rounds.push_back(std::move(round));
  }
  for (Round& round : rounds) {
    MIGSOAK_TRY(run_state(std::move(round.vms), layout, group, round.state, round.applicable));
  }
  return {};
}

base::Result<void> Batch::run_state(VmPair first_pair, const Layout& layout, const Indices& group, GuestState state,
                                    const Indices& applicable) {
  const auto views = views_of(group);
  std::deque<Indices> subsets{applicable};
  while (!subsets.empty()) {
    const Indices subset = std::move(subsets.front());
    subsets.pop_front();
    if (subset.empty()) continue;
    if (deadline_.passed()) {
      for (const std::size_t i : subset) note_one(group[i], state, LoadOutcome::unknown, {"not tried: no time left"});
      continue;
    }
    VmPair vms = std::exchange(first_pair, {});
    if (!vms.source) {
      auto spawned = start_pair(lab_, builds_, layout);
      if (!spawned && spawned.error().kind != ErrorKind::subject) return tl::unexpected<base::Error>(spawned.error());
      if (!spawned) {
        for (const std::size_t i : subset)
          note_one(group[i], state, LoadOutcome::unknown, {spawned.error().describe()});
        continue;
      }
      vms = std::move(*spawned);
    }
    MIGSOAK_ASSIGN(const Attempt result, attempt(vms, layout, state, subset, views, deadline_));
    if (result.outcome == AttemptOutcome::loaded) {
      note(layout, group, state, subset, result);
      continue;
    }
    const auto named = std::find(subset.begin(), subset.end(), result.culprit);
    const auto culprit = subset.size() == 1 ? subset.begin() : named;
    if (culprit == subset.end()) {
      const auto middle = subset.begin() + static_cast<std::ptrdiff_t>(subset.size() / 2);
      subsets.emplace_back(subset.begin(), middle);
      subsets.emplace_back(middle, subset.end());
      continue;
    }
    const bool refused = result.outcome == AttemptOutcome::refused;
    note_one(group[*culprit], state, refused ? LoadOutcome::refused : LoadOutcome::unknown, result.lines);
    Indices rest = subset;
    rest.erase(rest.begin() + (culprit - subset.begin()));
    subsets.push_back(std::move(rest));
  }
  return {};
}

base::Result<std::vector<DeviceFacts>> run_batch(CompatHost& lab, const BuildPair& builds,
                                                 const std::vector<DevicePair>& devices, base::Deadline deadline) {
  return Batch(lab, builds, devices, deadline).run();
}

}  // namespace migsoak::compat
