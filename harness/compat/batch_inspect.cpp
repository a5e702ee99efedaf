// What is learnt from a pair of VMs beside the load: reset values, masks, virtio queues.
#include <fmt/format.h>

#include <algorithm>

#include "compat/batch_run.h"

namespace migsoak::compat {
using base::ErrorKind;

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
      facts_[group[subset[i]]].own_virtio_from = from[i];
      facts_[group[subset[i]]].own_virtio_to = to[i];
    }
  }
  for (const auto& [vm, side] : {std::pair{vms.source.get(), Side::from}, {vms.destination.get(), Side::to}}) {
    MIGSOAK_TRY(read_queue_properties(*vm, layout, group, side));
    MIGSOAK_TRY(read_visible_properties(*vm, layout, group, side));
  }
  return {};
}

// What the devices' own properties say of the size of their first queue, under whatever name.
base::Result<void> Batch::read_queue_properties(ProbeVm& vm, const Layout& layout, const Indices& group, Side side) {
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

// What a guest reads by a command, as the object model tells it.
base::Result<void> Batch::read_visible_properties(ProbeVm& vm, const Layout& layout, const Indices& group, Side side) {
  const auto deadline = base::Deadline::in(std::chrono::seconds(10)).sooner(deadline_);
  struct Asked {
    std::size_t index;
    VisibleProperty visible;
    std::uint64_t id;
  };
  std::vector<Asked> asked;
  for (std::size_t i = 0; i < group.size(); ++i) {
    const std::string path = fmt::format("/machine/peripheral/d{}", layout.devices()[i].index);
    for (const VisibleProperty& visible : visible_properties(facts_[group[i]].device.driver)) {
      const base::Json arguments{{"path", path}, {"property", visible.property}};
      asked.push_back({group[i], visible, vm.qmp().send("qom-get", arguments)});
    }
  }
  for (const Asked& one : asked) {
    const auto reply = vm.qmp().take_reply(one.id, deadline);
    if (!reply && reply.error().kind == ErrorKind::interrupted) return tl::unexpected<base::Error>(reply.error());
    auto& properties = facts_[one.index].properties;
    auto found = std::find_if(properties.begin(), properties.end(),
                              [&](const PropertyView& view) { return view.property == one.visible.property; });
    if (found == properties.end()) {
      properties.push_back({std::string(one.visible.property), std::string(one.visible.what), false, {}, {}});
      found = properties.end() - 1;
    }
    if (!reply) continue;  // that build's device does not have it
    found->number = reply->is_number();
    auto& value = side == Side::from ? found->from : found->to;
    value = reply->is_string() ? reply->get<std::string>() : base::dump_json(*reply);
  }
  return {};
}

// Devices whose untouched state is refused: the masks and queues of both builds explain it all the same.
base::Result<void> Batch::look_without_load(const Indices& group) {
  MIGSOAK_ASSIGN(const Layout layout, layout_of(group));
  MIGSOAK_ASSIGN(VmPair vms, start_pair(lab_, builds_, layout));
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
    if (position < attempt.virtio_before.size()) facts.virtio_before = attempt.virtio_before[position];
    if (position < attempt.virtio_after.size()) facts.virtio_after = attempt.virtio_after[position];
    facts_[group[i]].states.push_back(std::move(facts));
  }
}

}  // namespace migsoak::compat
