#include "detect/device_tree_history.h"

#include <fmt/format.h>

#include <utility>

#include "base/text.h"

namespace migsoak::detect {

namespace {

constexpr std::size_t kDevicesListedMax = 16;
constexpr std::size_t kValueShownBytes = 60;

std::string shown(const std::optional<std::string>& value) {
  if (!value) return "not there";
  return value->empty() ? "empty" : base::printable(*value, kValueShownBytes);
}

// A device on a root bus, as QEMU's device path names it; empty elsewhere.
std::string pci_path_of(const record::TreePath& path, const record::TreeNode& node) {
  const std::string bus = record::parent_of(path);
  const auto address = node.props.find("addr");
  const bool root = record::has_component(bus, "pcie.0") || record::has_component(bus, "pci.0");
  const std::string name = bus.substr(bus.rfind('/') + 1);
  if (address == node.props.end() || !root || (name != "pcie.0" && name != "pci.0")) return "";
  return "0000:00:" + address->second;
}

std::string more_below(const TreeDifference& difference) {
  if (difference.below.empty()) return "";
  return fmt::format(" with {} below it", base::join(difference.below, ", "));
}

}  // namespace

TreeHistory::TreeHistory(const record::Observation& observation, At at, SideDocuments planned, base::Json evidence)
    : evidence_(std::move(evidence)),
      before_load_(at != At::arrived),
      planned_(std::move(planned)),
      now_("qemu:" + (at == At::plugged ? observation.plan.source_side : observation.plan.destination_side)),
      former_(at == At::plugged ? "it" : "qemu:" + observation.plan.source_side),
      when_(fmt::format("(iteration {}){}", observation.iteration, before_load_ ? "; seen before the load" : "")) {
  if (before_load_) evidence_["before_load"] = true;
}

TreeMismatch TreeHistory::begin(const std::string& kind, const std::string& identity) const {
  TreeMismatch trouble;
  trouble.process = now_;
  trouble.kind = kind;
  trouble.identity = identity;
  trouble.before_load = before_load_;
  trouble.evidence = evidence_;
  return trouble;
}

// With what the harness asked for beside it.
void TreeHistory::put_device(TreeMismatch& trouble, const std::string& id) const {
  if (id.empty()) return;
  trouble.id = id;
  trouble.evidence["device"] = id;
  const base::Json entry = planned_.device(id);
  trouble.evidence["planned"] = entry.is_object() ? entry : base::Json("no such device");
}

TreeMismatch TreeHistory::of_device(const TreeDifference& difference) const {
  const std::string words = tree_words(difference.path, difference.node, difference.owner) + more_below(difference);
  TreeMismatch trouble = begin("device-changed", difference.path);
  switch (difference.change) {
    case TreeChange::extra:
      trouble.kind = "device-extra";
      trouble.title =
          fmt::format("{} has {}, which {} had not and the plan did not ask for {}", now_, words, former_, when_);
      break;
    case TreeChange::missing:
      trouble.kind = "device-missing";
      trouble.title = fmt::format("{} lacks {}, which {} had; the plan did not ask for its removal {}", now_, words,
                                  former_, when_);
      break;
    case TreeChange::moved:
      trouble.evidence["former_path"] = difference.former;
      trouble.title = fmt::format("{} has {}, where {} had {}; the plan did not ask for that {}", now_, words, former_,
                                  tree_words(difference.former, difference.node, ""), when_);
      break;
    default:
      trouble.evidence["before"] = shown(difference.before);
      trouble.evidence["after"] = shown(difference.after);
      trouble.title = fmt::format("{} has {}, where {} had {}; the plan did not ask for that {}", now_, words, former_,
                                  shown(difference.before), when_);
  }
  trouble.pci_address = pci_path_of(difference.path, difference.node);
  if (!trouble.pci_address.empty()) trouble.evidence["pci_address"] = trouble.pci_address;
  trouble.evidence["path"] = difference.path;
  trouble.evidence["type"] = difference.node.type;
  if (!difference.below.empty()) trouble.evidence["below"] = difference.below;
  put_device(trouble, difference.owner);
  return trouble;
}

TreeMismatch TreeHistory::of_object(const TreeDifference& difference) const {
  const bool extra = difference.change == TreeChange::object_extra;
  TreeMismatch trouble = begin(extra ? "object-extra" : "object-missing", difference.path);
  const std::string words = "QOM path /machine" + difference.path + more_below(difference);
  trouble.title =
      extra ? fmt::format("{} has {}, which {} had not and the plan did not ask for {}", now_, words, former_, when_)
            : fmt::format("{} lacks {}, which {} had; the plan did not ask for its removal {}", now_, words, former_,
                          when_);
  trouble.evidence["path"] = "/machine" + difference.path;
  if (!difference.below.empty()) trouble.evidence["below"] = difference.below;
  return trouble;
}

std::string TreeHistory::change_words(const TreeDifference& difference) const {
  return fmt::format("{} is {}, where {} had {}", difference.property, shown(difference.after), former_,
                     shown(difference.before));
}

TreeMismatch TreeHistory::of_property(const std::vector<const TreeDifference*>& devices) const {
  const TreeDifference& first = *devices.front();
  // Many alike are one trouble, whichever devices there are.
  TreeMismatch trouble =
      begin("property-changed", fmt::format("{} {} {} {}", devices.size() == 1 ? first.path : "many", first.property,
                                            shown(first.before), shown(first.after)));
  std::vector<std::string> words;
  for (const TreeDifference* device : devices) {
    if (words.size() < kDevicesListedMax) words.push_back(tree_words(device->path, device->node, device->owner));
  }
  trouble.title = fmt::format("{} on {}{}: {}, and the plan did not ask for it {}", words.front(), now_,
                              devices.size() == 1 ? "" : fmt::format(" and {} more devices", devices.size() - 1),
                              change_words(first), when_);
  trouble.evidence["path"] = first.path;
  trouble.evidence["type"] = first.node.type;
  trouble.evidence["property"] = first.property;
  trouble.evidence["before"] = shown(first.before);
  trouble.evidence["after"] = shown(first.after);
  if (devices.size() > 1) trouble.evidence["devices"] = words;
  if (devices.size() == 1) {
    const std::string address = pci_path_of(first.path, first.node);
    if (!address.empty()) trouble.evidence["pci_address"] = address;
    put_device(trouble, first.owner);
  }
  return trouble;
}

TreeMismatch TreeHistory::of_operation(const record::PlannedOperation& operation) const {
  const bool plug = operation.action == "plug";
  TreeMismatch trouble = begin(plug ? "device-missing" : "device-extra", operation.action + ' ' + operation.kind);
  trouble.title = fmt::format("{} {} {} {}, although it was {} as planned {}", now_, plug ? "lacks" : "still has",
                              operation.kind, operation.device, plug ? "plugged" : "unplugged", when_);
  trouble.evidence["type"] = operation.kind;
  put_device(trouble, operation.device);
  return trouble;
}

}  // namespace migsoak::detect
