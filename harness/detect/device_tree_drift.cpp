#include "detect/device_tree_drift.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "detect/catalog.h"
#include "detect/config_documents.h"
#include "detect/device_tree_history.h"
#include "detect/event_text.h"

namespace migsoak::detect {

namespace {

using record::DeviceTree;
using record::TreePath;

// Up to so many devices with the same change of a property have a finding each; more share one.
constexpr std::size_t kDevicesApartMax = 3;
constexpr std::size_t kOperationsListedMax = 32;

AskedProps asked_props(const SideDocuments& documents) {
  AskedProps asked;
  for (const base::Json& device : *documents.device_set) {
    asked[base::json_get<std::string>(device, "id", "")] = base::json_get(device, "props", base::Json::object());
  }
  return asked;
}

bool is_below(const std::string& path, const TreePath& top) {
  return path == top || (path.size() > top.size() && path.rfind(top, 0) == 0 && path[top.size()] == '/');
}

bool is_touched(const std::string& path, const std::set<std::string>& ids) {
  return std::any_of(ids.begin(), ids.end(), [&](const std::string& id) { return record::has_component(path, id); });
}

// What touches the devices is as the new tree has it.
template <typename Map>
void take_touched(Map& into, const Map& from, const std::set<std::string>& ids) {
  std::erase_if(into, [&](const auto& entry) { return is_touched(entry.first, ids); });
  for (const auto& entry : from) {
    if (is_touched(entry.first, ids)) into.insert(entry);
  }
}

// The tree with the differences that were found taken out or corrected: what the next one is compared with.
void put_right(const TreeDifference& difference, DeviceTree& tree, std::set<std::string>& owed) {
  const auto drop = [&tree](const TreePath& top) {
    std::erase_if(tree.nodes, [&](const auto& entry) { return is_below(entry.first, top); });
  };
  switch (difference.change) {
    case TreeChange::extra: return drop(difference.path);
    case TreeChange::missing:
    case TreeChange::object_missing: owed.insert(difference.path); return;
    case TreeChange::moved: owed.insert(difference.former); return drop(difference.path);
    case TreeChange::retyped: owed.insert(difference.path); return drop(difference.path);
    case TreeChange::object_extra: tree.objects.erase(difference.path); return;
    case TreeChange::property: break;
  }
  auto& props = tree.nodes[difference.path].props;
  if (difference.before) {
    props[difference.property] = *difference.before;
  } else {
    props.erase(difference.property);
  }
}

bool same_entry(const TreeDifference& one, const TreeDifference& other) {
  return one.change == other.change && one.path == other.path && one.property == other.property;
}

std::string words_of(const record::PlannedOperation& operation) {
  std::string place = operation.bus.empty() ? operation.address : operation.bus + ' ' + operation.address;
  if (!place.empty()) place = " at " + place;
  return fmt::format("{} {} {}{} ({})", operation.action, operation.kind, operation.device, place, operation.timing);
}

}  // namespace

std::string DeviceTreeDrift::build_of(const std::string& side) const {
  for (const record::SideInfo& info : sides_) {
    if (info.name == side) return info.qemu_version + '\n' + info.qemu;
  }
  return side;
}

void DeviceTreeDrift::note_operations(const record::Observation& observation) {
  const auto result_of = [&](const record::PlannedOperation& operation) -> std::string {
    for (const record::Event& event : observation.events) {
      if (event.kind == kinds::kHotplug && detail_text(event, "device") == operation.device &&
          detail_text(event, "action") == operation.action && detail_text(event, "timing") == operation.timing) {
        return detail_text(event, "result");
      }
    }
    return "";
  };
  for (const record::PlannedOperation& operation : observation.plan.operations) {
    const std::string result = result_of(operation);
    if (asked_.size() < kOperationsListedMax) {
      asked_.push_back(words_of(operation) + (result.empty() || result == "done" ? "" : ": " + result));
    }
    // Refused as it had to be.
    if (operation.timing == "refused" && result != "not-refused") continue;
    for (auto& [build, reference] : references_) reference.touched.insert(operation.device);
    done_.erase(operation.device);
    if (result == "done") done_[operation.device] = operation;
  }
}

DeviceTreeDrift::Parts DeviceTreeDrift::parts_at(const record::Observation& observation, const std::string& point) {
  Parts parts;
  for (const record::Document& document : observation.documents) {
    if (document.kind != record::document_kind::kDeviceTree || document.point != point) continue;
    parts.contents.push_back(&document.content);
    parts.ids.push_back(document.content_id);
  }
  return parts;
}

bool DeviceTreeDrift::Clean::holds(const Parts& now, const std::string& build) const {
  if (with.count(build) == 0 || contents.size() != now.contents.size()) return false;
  for (std::size_t i = 0; i < contents.size(); ++i) {
    const bool known = now.ids[i] != 0 && now.ids[i] == ids[i];
    if (!known && contents[i] != *now.contents[i]) return false;
  }
  return true;
}

void DeviceTreeDrift::Clean::take(const Parts& now, const std::string& build) {
  contents.clear();
  for (const base::Json* content : now.contents) contents.push_back(*content);
  ids = now.ids;
  with.insert(build);
}

void DeviceTreeDrift::forget_clean() {
  for (auto& [build, reference] : references_) {
    reference.waiting.with.clear();
    reference.arrived.with.clear();
  }
}

std::optional<DeviceTree> DeviceTreeDrift::tree_at(const record::Observation& observation, const std::string& point) {
  const Parts parts = parts_at(observation, point);
  if (parts.contents.empty()) return std::nullopt;
  auto tree = record::tree_from_parts(parts.contents);
  if (!tree || tree->cut) {
    unreadable_ = true;
    return std::nullopt;
  }
  return std::move(*tree);
}

// The source's expected tree after the plan's operations: devices that were plugged are as the source shows them, the
// rest is unchanged.
void DeviceTreeDrift::take_plugged(const record::Observation& observation, std::vector<TreeMismatch>& into) {
  const auto known = references_.find(build_of(observation.plan.source_side));
  if (known == references_.end()) return;
  const auto tree = tree_at(observation, "plugged");
  if (!tree) return;
  const SideDocuments documents = documents_.at(observation, "source");
  const AskedProps asked = asked_props(documents);
  Reference& reference = known->second;
  const TreeComparison changed = compared_with(reference, {*tree, asked}, /*other_build=*/false);
  const TreeHistory story(observation, TreeHistory::At::plugged, documents, evidence_of(observation));
  for (TreeMismatch& trouble : tell(story, changed.differences)) into.push_back(std::move(trouble));
  std::set<std::string> settled;
  for (const record::PlannedOperation& operation : observation.plan.operations) {
    if (operation.timing == "settled") settled.insert(operation.device);
  }
  // One that is still under way at the migration is not as it will be.
  for (const record::PlannedOperation& operation : observation.plan.operations) {
    if (operation.timing == "at-once") settled.erase(operation.device);
  }
  take_touched(reference.tree.nodes, tree->nodes, settled);
  take_touched(reference.tree.objects, tree->objects, settled);
  take_touched(reference.asked, asked, settled);
  for (const std::string& device : settled) reference.touched.erase(device);
  forget_clean();
}

bool DeviceTreeDrift::is_known(const Clean Reference::*point, const Parts& parts, const record::Plan& plan) const {
  const auto own = references_.find(build_of(plan.destination_side));
  return own != references_.end() && own->second.touched.empty() && done_.empty() &&
         (own->second.*point).holds(parts, build_of(plan.source_side));
}

// Of the destination, before anything is sent: what stands on one side only will not load, or be lost.
void DeviceTreeDrift::take_waiting(const record::Observation& observation, std::vector<TreeMismatch>& into) {
  const record::Plan& plan = observation.plan;
  const Parts parts = parts_at(observation, "waiting");
  if (parts.contents.empty() || references_.empty() || is_known(&Reference::waiting, parts, plan)) return;
  const auto tree = tree_at(observation, "waiting");
  if (!tree) return;
  const SideDocuments documents = documents_.at(observation, "destination");
  const AskedProps asked = asked_props(documents);
  const TreeComparison found = compared_with_both(plan, {*tree, asked});
  const TreeHistory story(observation, TreeHistory::At::waiting, documents, evidence_of(observation));
  for (TreeMismatch& trouble : tell(story, found.differences)) into.push_back(std::move(trouble));
  const auto own = references_.find(build_of(plan.destination_side));
  if (found.differences.empty() && own != references_.end()) {
    own->second.waiting.take(parts, build_of(plan.source_side));
  }
}

void DeviceTreeDrift::take_arrived(const record::Observation& observation, std::vector<TreeMismatch>& into) {
  const Parts parts = parts_at(observation, "arrived");
  if (parts.contents.empty()) return;
  if (is_known(&Reference::arrived, parts, observation.plan)) {
    asked_.clear();
    return;
  }
  const auto tree = tree_at(observation, "arrived");
  if (!tree) return;
  const std::string build = build_of(observation.plan.destination_side);
  const SideDocuments documents = documents_.at(observation, "destination");
  const AskedProps asked = asked_props(documents);
  const TreeComparison found = compared_with_both(observation.plan, {*tree, asked});
  const TreeHistory story(observation, TreeHistory::At::arrived, documents, evidence_of(observation));
  std::vector<TreeMismatch> all = tell(story, found.differences);
  check_operations(story, *tree, all);
  keep(build, *tree, asked, found);
  if (all.empty()) references_[build].arrived.take(parts, build_of(observation.plan.source_side));
  for (TreeMismatch& trouble : all) into.push_back(std::move(trouble));
  asked_.clear();
  done_.clear();
}

std::vector<TreeMismatch> DeviceTreeDrift::troubles(const record::Observation& observation) {
  unreadable_ = false;
  if (observation.lineage != lineage_) {
    lineage_ = observation.lineage;
    references_.clear();
    asked_.clear();
    done_.clear();
  }
  // The lineage's first QEMU, before anything was plugged.
  if (auto tree = tree_at(observation, "source")) {
    Reference& first = references_[build_of(observation.plan.source_side)];
    first = {};
    first.tree = std::move(*tree);
    first.asked = asked_props(documents_.at(observation, "source"));
  }
  std::vector<TreeMismatch> found;
  note_operations(observation);
  take_plugged(observation, found);
  take_waiting(observation, found);
  take_arrived(observation, found);
  return found;
}

TreeComparison DeviceTreeDrift::compared_with(const Reference& reference, const TreeSide& now, bool other_build) {
  return compare_.compare({reference.tree, reference.asked}, now, other_build, [&](const std::string& path) {
    if (is_touched(path, reference.touched)) return true;
    return std::any_of(reference.owed.begin(), reference.owed.end(),
                       [&](const std::string& owed) { return is_below(path, owed); });
  });
}

// With the expected tree of the destination's build, once it is known, and with that of the source's build.
TreeComparison DeviceTreeDrift::compared_with_both(const record::Plan& plan, const TreeSide& now) {
  const std::string build = build_of(plan.destination_side);
  TreeComparison found;
  for (const std::string& other : std::set<std::string>{build, build_of(plan.source_side)}) {
    const auto reference = references_.find(other);
    if (reference == references_.end()) continue;
    TreeComparison compared = compared_with(reference->second, now, other != build);
    found.told_objects.merge(compared.told_objects);
    for (TreeDifference& difference : compared.differences) {
      const bool known = std::any_of(found.differences.begin(), found.differences.end(),
                                     [&](const TreeDifference& one) { return same_entry(one, difference); });
      if (!known) found.differences.push_back(std::move(difference));
    }
  }
  return found;
}

void DeviceTreeDrift::keep(const std::string& build, const DeviceTree& tree, const AskedProps& asked,
                           const TreeComparison& found) {
  const auto known = references_.find(build);
  if (known == references_.end()) {
    Reference made;
    made.tree = tree;
    made.asked = asked;
    for (const TreeDifference& difference : found.differences) put_right(difference, made.tree, made.owed);
    for (const auto& [object, count] : found.told_objects) {
      const auto there = made.tree.objects.find(object);
      if (there == made.tree.objects.end() || there->second < count) {
        made.owed.insert(object);
      } else if (count > 0) {
        there->second = count;
      } else {
        made.tree.objects.erase(there);
      }
    }
    forget_clean();
    references_[build] = std::move(made);
    return;
  }
  Reference& reference = known->second;
  if (reference.touched.empty()) return;
  take_touched(reference.tree.nodes, tree.nodes, reference.touched);
  take_touched(reference.tree.objects, tree.objects, reference.touched);
  take_touched(reference.asked, asked, reference.touched);
  reference.touched.clear();
  forget_clean();
}

base::Json DeviceTreeDrift::evidence_of(const record::Observation& observation) const {
  base::Json evidence = {{"mode", observation.plan.mode}, {"machine", observation.plan.machine}};
  evidence["asked"] = asked_.empty() ? base::Json("nothing") : base::Json(asked_);
  put_pair(evidence, observation.plan, sides_);
  return evidence;
}

std::vector<TreeMismatch> DeviceTreeDrift::tell(const TreeHistory& story,
                                                const std::vector<TreeDifference>& found) const {
  std::map<std::string, std::vector<const TreeDifference*>> by_change;  // of a property
  std::vector<TreeMismatch> all;
  for (const TreeDifference& difference : found) {
    if (difference.change == TreeChange::property) {
      by_change[story.change_words(difference)].push_back(&difference);
    } else if (difference.change == TreeChange::object_extra || difference.change == TreeChange::object_missing) {
      all.push_back(story.of_object(difference));
    } else {
      all.push_back(story.of_device(difference));
    }
  }
  for (const auto& [words, devices] : by_change) {
    if (devices.size() > kDevicesApartMax) {
      all.push_back(story.of_property(devices));
      continue;
    }
    for (const TreeDifference* device : devices) all.push_back(story.of_property({device}));
  }
  return all;
}

// What was plugged and unplugged as planned is there, or gone.
void DeviceTreeDrift::check_operations(const TreeHistory& story, const DeviceTree& tree,
                                       std::vector<TreeMismatch>& into) const {
  for (const auto& [id, operation] : done_) {
    const std::string name = id;
    const auto has = [&name](const auto& entry) { return record::has_component(entry.first, name); };
    const bool there = std::any_of(tree.nodes.begin(), tree.nodes.end(), has) ||
                       std::any_of(tree.objects.begin(), tree.objects.end(), has);
    if (there == (operation.action == "plug")) continue;
    into.push_back(story.of_operation(operation));
  }
}

std::vector<record::Exclusion> DeviceTreeDrift::exclusions() const {
  std::vector<record::Exclusion> all;
  for (const DeviceTreeKnown& entry : device_tree_known()) {
    const auto held = compare_.held_back().find(entry.name);
    if (held != compare_.held_back().end()) all.push_back({entry.name, "qtree-drift", entry.reason, held->second});
  }
  return all;
}

}  // namespace migsoak::detect
