#include "compat/batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>

#include "base/text.h"
#include "compat/attempt.h"
#include "compat/config_access.h"

namespace migsoak::compat {
using base::ErrorKind;

namespace {

using Indices = std::vector<std::size_t>;

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

// Runs the devices of one batch; indices into `facts_` throughout, except where a layout's own are meant.
class Batch {
 public:
  Batch(Lab& lab, const BuildPair& builds, const std::vector<DevicePair>& devices, base::Deadline deadline)
      : lab_(lab), builds_(builds), deadline_(deadline) {
    for (const DevicePair& device : devices) {
      facts_.emplace_back();
      facts_.back().device = device;
    }
  }

  base::Result<std::vector<DeviceFacts>> run() {
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

 private:
  base::Result<void> run_group(Indices group);
  base::Result<bool> first_look(Indices& group);
  base::Result<void> look_at_masks(VmPair& vms, const Layout& layout, const Indices& group, const Attempt& first);
  base::Result<void> look_at_queues(VmPair& vms, const Layout& layout, const Indices& group);
  base::Result<void> read_queue_properties(Throwaway& vm, const Layout& layout, const Indices& group, Side side);
  base::Result<void> look_without_load(const Indices& group);
  base::Result<void> split(const Indices& group);
  void give_up_on(std::size_t index, const Attempt& attempt);
  base::Result<bool> bare_machine_loads();
  base::Result<void> run_states(const Indices& group);
  base::Result<void> run_state(VmPair first_pair, const Layout& layout, const Indices& group, GuestState state,
                               const Indices& applicable);
  void note(const Layout& layout, const Indices& group, GuestState state, const Indices& subset,
            const Attempt& attempt);
  void note_one(std::size_t index, GuestState state, LoadOutcome outcome, std::vector<std::string> lines);
  base::Result<Layout> layout_of(const Indices& group) const;
  std::vector<ConfigView> views_of(const Indices& group) const;

  Lab& lab_;
  const BuildPair& builds_;
  base::Deadline deadline_;
  std::vector<DeviceFacts> facts_;
  Indices refused_;  // as they come out of reset
  std::optional<bool> bare_loads_;
  std::string bare_reason_;
};

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
  auto spawned = spawn_pair(lab_, builds_, layout);
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
  const std::size_t culprit = group.size() == 1 ? 0 : result.culprit;
  if (culprit == Layout::kNone) return false;
  const std::size_t index = group[culprit];
  vms = {};
  if (result.outcome == AttemptOutcome::refused && result.culprit == Layout::kNone) {
    MIGSOAK_ASSIGN(const bool bare, bare_machine_loads());
    if (!bare) {
      facts_[index].unknown_reason = "the machine does not load without any device either: " + bare_reason_;
      group.clear();
      return false;
    }
  }
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
    MIGSOAK_ASSIGN(VmPair vms, spawn_pair(lab_, builds_, layout));
    MIGSOAK_ASSIGN(const Attempt result, attempt(vms, layout, GuestState::untouched, {}, {}, deadline_));
    bare_loads_ = result.outcome == AttemptOutcome::loaded;
    bare_reason_ = reason_text(result.lines);
  }
  return *bare_loads_;
}

base::Result<void> Batch::look_at_masks(VmPair& vms, const Layout& layout, const Indices& group, const Attempt& first) {
  note(
      layout, group, GuestState::untouched,
      [&] {
        Indices all;
        for (std::size_t i = 0; i < group.size(); ++i) all.push_back(i);
        return all;
      }(),
      first);
  const auto deadline = base::Deadline::in(std::chrono::seconds(10)).sooner(deadline_);
  auto from = read_masks(*vms.source, layout, first.before, deadline);
  auto to = read_masks(*vms.destination, layout, first.fresh, deadline);
  for (const auto* masks : {&from, &to}) {
    if (*masks) continue;
    if (masks->error().kind == ErrorKind::interrupted) return tl::unexpected<base::Error>(masks->error());
    for (const std::size_t index : group) {
      facts_[index].unknown_reason = "masks could not be read: " + masks->error().describe();
    }
    return {};
  }
  for (std::size_t i = 0; i < group.size(); ++i) {
    DeviceFacts& facts = facts_[group[i]];
    facts.view.mask_from = std::move((*from)[i]);
    facts.view.mask_to = std::move((*to)[i]);
    facts.looked_at = true;
  }
  // Without the builds' own idea of the queues there is a verdict still.
  if (auto looked = look_at_queues(vms, layout, group); !looked && looked.error().kind == ErrorKind::interrupted) {
    return looked;
  }
  return {};
}

base::Result<void> Batch::look_at_queues(VmPair& vms, const Layout& layout, const Indices& group) {
  const auto views = views_of(group);
  for (const GuestState state : {GuestState::legacy_driver, GuestState::modern_driver}) {
    Indices subset;
    for (std::size_t i = 0; i < group.size(); ++i) {
      if (driver_applies(state, views[i])) subset.push_back(i);
    }
    const auto deadline = base::Deadline::in(std::chrono::seconds(10)).sooner(deadline_);
    MIGSOAK_TRY(prepare_access(*vms.source, layout, deadline));
    MIGSOAK_TRY(prepare_access(*vms.destination, layout, deadline));
    MIGSOAK_ASSIGN(const auto from, reset_and_look(*vms.source, layout, state, subset, views, deadline));
    MIGSOAK_ASSIGN(const auto to, reset_and_look(*vms.destination, layout, state, subset, views, deadline));
    for (std::size_t i = 0; i < subset.size(); ++i) {
      facts_[group[subset[i]]].own_queues_from = from[i];
      facts_[group[subset[i]]].own_queues_to = to[i];
    }
  }
  for (const auto& [vm, side] : {std::pair{vms.source.get(), Side::from}, {vms.destination.get(), Side::to}}) {
    MIGSOAK_TRY(read_queue_properties(*vm, layout, group, side));
  }
  return {};
}

// What the devices' own properties say of the size of their first queue, under whatever name.
base::Result<void> Batch::read_queue_properties(Throwaway& vm, const Layout& layout, const Indices& group, Side side) {
  const auto deadline = base::Deadline::in(std::chrono::seconds(10)).sooner(deadline_);
  std::vector<std::pair<std::size_t, std::uint64_t>> asked;
  for (std::size_t i = 0; i < group.size(); ++i) {
    if (!is_virtio(facts_[group[i]].device.driver)) continue;
    const std::string path = fmt::format("/machine/peripheral/d{}/virtio-backend", layout.devices()[i].index);
    for (const char* property : {"queue-size", "virtqueue_size", "rx_queue_size"}) {
      asked.emplace_back(group[i], vm.qmp().send("qom-get", {{"path", path}, {"property", property}}));
    }
  }
  for (const auto& [index, id] : asked) {
    const auto reply = vm.qmp().take_reply(id, deadline);
    if (!reply && reply.error().kind == ErrorKind::interrupted) return tl::unexpected<base::Error>(reply.error());
    if (!reply || !reply->is_number_unsigned()) continue;
    DeviceFacts& facts = facts_[index];
    (side == Side::from ? facts.queue_property_from : facts.queue_property_to) = reply->get<std::uint32_t>();
  }
  return {};
}

// Devices whose untouched state is refused: the masks and queues of both builds explain it all the same.
base::Result<void> Batch::look_without_load(const Indices& group) {
  MIGSOAK_ASSIGN(const Layout layout, layout_of(group));
  MIGSOAK_ASSIGN(VmPair vms, spawn_pair(lab_, builds_, layout));
  const auto deadline = base::Deadline::in(std::chrono::seconds(10)).sooner(deadline_);
  const auto all = [&]() -> base::Result<void> {
    MIGSOAK_TRY(vms.source->wait_ready(deadline));
    MIGSOAK_TRY(vms.destination->wait_ready(deadline));
    MIGSOAK_TRY(prepare_access(*vms.source, layout, deadline));
    MIGSOAK_TRY(prepare_access(*vms.destination, layout, deadline));
    MIGSOAK_ASSIGN(const auto from, read_images(*vms.source, layout, deadline));
    MIGSOAK_ASSIGN(const auto to, read_images(*vms.destination, layout, deadline));
    MIGSOAK_ASSIGN(const auto mask_from, read_masks(*vms.source, layout, from, deadline));
    MIGSOAK_ASSIGN(const auto mask_to, read_masks(*vms.destination, layout, to, deadline));
    for (std::size_t i = 0; i < group.size(); ++i) {
      facts_[group[i]].view = {from[i], to[i], mask_from[i], mask_to[i]};
      facts_[group[i]].looked_at = true;
    }
    return look_at_queues(vms, layout, group);
  };
  auto done = all();
  // Without masks there is a verdict still, only less of an explanation.
  if (!done && done.error().kind == ErrorKind::interrupted) return done;
  return {};
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
    MIGSOAK_ASSIGN(round.vms, spawn_pair(lab_, builds_, layout));
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
    VmPair vms = std::move(first_pair);
    if (!vms.source) {
      MIGSOAK_ASSIGN(vms, spawn_pair(lab_, builds_, layout));
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

void Batch::note_one(std::size_t index, GuestState state, LoadOutcome outcome, std::vector<std::string> lines) {
  StateFacts facts;
  facts.state = state;
  facts.outcome = outcome;
  facts.lines = std::move(lines);
  facts_[index].states.push_back(std::move(facts));
}

void Batch::note(const Layout& layout, const Indices& group, GuestState state, const Indices& subset,
                 const Attempt& attempt) {
  for (std::size_t position = 0; position < subset.size(); ++position) {
    const std::size_t i = subset[position];
    const pci::ConfigImage& before = attempt.before[layout.devices()[i].index];
    const pci::ConfigImage& after = attempt.after[layout.devices()[i].index];
    StateFacts facts;
    facts.state = state;
    facts.outcome = LoadOutcome::loaded;
    for (std::size_t offset = 0; offset < before.size(); ++offset) {
      const auto difference = static_cast<std::uint8_t>(before.u8(offset) ^ after.u8(offset));
      if (difference == 0) continue;
      ChangedByte changed{offset, before.u8(offset), after.u8(offset), 0, ""};
      const std::uint32_t excused = volatile_bits(before, offset & ~std::size_t{3}, &changed.reason);
      changed.excused = static_cast<std::uint8_t>(difference & (excused >> (8 * (offset & 3))));
      facts.changed.push_back(std::move(changed));
    }
    if (position < attempt.queues_before.size()) facts.queues_before = attempt.queues_before[position];
    if (position < attempt.queues_after.size()) facts.queues_after = attempt.queues_after[position];
    facts_[group[i]].states.push_back(std::move(facts));
  }
}

}  // namespace

base::Result<std::vector<DeviceFacts>> run_batch(Lab& lab, const BuildPair& builds,
                                                 const std::vector<DevicePair>& devices, base::Deadline deadline) {
  return Batch(lab, builds, devices, deadline).run();
}

}  // namespace migsoak::compat
