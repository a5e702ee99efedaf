// qtree-drift: devices that are not as the plan has them. What the plan asked for and QEMU or the guest did otherwise:
// refused, not refused where it had to be, done without the guest ever showing it. (An unplug that the guest never
// acknowledges is a hang of the guest and found as such.) PCI functions that only one end of a migration has, seen
// before anything is sent. And devices, buses, properties and QOM paths that are not what they were
// (device_tree_drift.h): of both ends before the load, and where the guest has arrived.
#include <fmt/format.h>

#include <map>
#include <set>

#include "detect/config_documents.h"
#include "detect/device_tree_drift.h"
#include "detect/event_text.h"
#include "detect/finding_set.h"

namespace migsoak::detect {

namespace {

struct DeviationWords {
  std::string process, kind, what;
};

class QtreeDrift final : public FindingSetDetector {
 public:
  explicit QtreeDrift(const record::Manifest& manifest)
      : FindingSetDetector("qtree-drift"), sides_(manifest.sides), trees_(manifest, documents_) {}
  std::vector<record::Exclusion> exclusions() const override { return trees_.exclusions(); }
  std::uint64_t revision() const override { return FindingSetDetector::revision() + trees_.revision(); }
  bool unreadable() const override { return trees_.unreadable(); }

 private:
  void fold(const record::Observation& observation) override {
    for (const record::Event& event : observation.events) {
      if (event.kind == kinds::kHotplug) take_operation(observation, event);
    }
    told_.clear();
    take_functions(observation);
    for (TreeMismatch& trouble : trees_.troubles(observation)) take_tree(observation, trouble);
  }
  void take_tree(const record::Observation& observation, TreeMismatch& trouble);
  void take_functions(const record::Observation& observation);
  void take_function(const record::Observation& observation, const record::ConfigFunction& function,
                     const record::ConfigFunction* other, const DeviceName& name, bool destination_has_it);
  void take_operation(const record::Observation& observation, const record::Event& event);

  std::vector<record::SideInfo> sides_;
  DocumentCache documents_;
  DeviceTreeDrift trees_;
  std::set<std::string> told_;                    // process, kind and identity, of the iteration at hand
  std::map<std::string, std::string> functions_;  // process, kind and PCI path of a function found -> its identity
};

// An unplug that was under way at the switch-over: the source may be without the device already.
bool is_going(const record::Plan& plan, const std::string& id) {
  for (const record::PlannedOperation& operation : plan.operations) {
    if (operation.timing == "at-once" && operation.action == "unplug" && operation.device == id) return true;
  }
  return false;
}

void QtreeDrift::take_functions(const record::Observation& observation) {
  const SideDocuments source = documents_.at(observation, "source");
  const SideDocuments destination = documents_.at(observation, "destination");
  if (!source.space || !destination.space) return;
  for (const record::ConfigFunction& function : destination.space->functions) {
    const record::ConfigFunction* other = source.space->find(function.path);
    if (other != nullptr && other->device == function.device) continue;
    take_function(observation, function, other, destination.name_of(function.path), true);
  }
  for (const record::ConfigFunction& function : source.space->functions) {
    if (destination.space->find(function.path) != nullptr) continue;
    take_function(observation, function, nullptr, source.name_of(function.path), false);
  }
}

void QtreeDrift::take_function(const record::Observation& observation, const record::ConfigFunction& function,
                               const record::ConfigFunction* other, const DeviceName& name, bool destination_has_it) {
  const record::Plan& plan = observation.plan;
  if (is_going(plan, function.id)) return;
  const std::string process = "qemu:" + plan.destination_side;
  const char* kind = other != nullptr ? "device-changed" : destination_has_it ? "device-extra" : "device-missing";
  const std::string identity = unfolded(plan.source_side + ' ' + function.path + ' ' + function.device);
  const auto reported = found_.report(observation.iteration, process, kind, identity);
  functions_[process + ' ' + kind + ' ' + function.path] = identity;
  if (!reported.fresh) return;
  record::Finding& finding = reported.finding;
  if (other != nullptr) {
    finding.title = fmt::format("{}: {} is {} where {} has {}, before the migration of iteration {}", process,
                                name.words(), function.device, plan.source_side, other->device, observation.iteration);
  } else {
    finding.title = fmt::format("{} {} {}, which {} {}, before the migration of iteration {}", process,
                                destination_has_it ? "has" : "lacks", name.words(), plan.source_side,
                                destination_has_it ? "does not have" : "has", observation.iteration);
  }
  finding.evidence["device"] = name.key();
  finding.evidence["type"] = name.type;
  finding.evidence["path"] = function.path;
  finding.evidence["pci_id"] = function.device;
  put_pair(finding.evidence, plan, sides_);
}

void QtreeDrift::take_tree(const record::Observation& observation, TreeMismatch& trouble) {
  // A PCI function was found before the migration: the tree adds to that what the plan asked for.
  const auto known = functions_.find(trouble.process + ' ' + trouble.kind + ' ' + trouble.pci_address);
  if (known != functions_.end()) {
    record::Finding& finding = found_.find(trouble.process, trouble.kind, known->second);
    if (finding.evidence.contains("asked")) return;
    finding.title += "; the plan did not ask for it";
    for (const char* key : {"asked", "planned", "below"}) {
      if (trouble.evidence.contains(key)) finding.evidence[key] = trouble.evidence[key];
    }
    finding.evidence["tree_path"] = trouble.evidence["path"];
    finding.evidence["driver"] = trouble.evidence["type"];
    return found_.touch();
  }
  // What was seen before the load stands there after it.
  if (!told_.insert(trouble.process + '\n' + trouble.kind + '\n' + trouble.identity).second) return;
  const auto reported = found_.report(observation.iteration, trouble.process, trouble.kind, unfolded(trouble.identity));
  if (!reported.fresh) return;
  reported.finding.title = std::move(trouble.title);
  reported.finding.evidence.update(trouble.evidence);
}

// Where the plan had the device; empty when it has none of that name, or no place for it.
std::string planned_place(const record::Plan& plan, const std::string& device, const std::string& action) {
  for (const record::PlannedOperation& operation : plan.operations) {
    if (operation.device != device || operation.action != action || operation.address.empty()) continue;
    return operation.bus.empty() ? operation.address : operation.bus + " " + operation.address;
  }
  return "";
}

// The side whose QEMU was asked: it stands in the event where that is not the source.
std::string asked_side(const record::Observation& observation, const record::Event& event) {
  const std::string side = detail_text(event, "side");
  return side.empty() ? observation.plan.source_side : side;
}

// What is wrong with an operation, and whose doing that is. An empty kind: nothing.
DeviationWords deviation_of(const record::Observation& observation, const record::Event& event) {
  const std::string result = detail_text(event, "result");
  const std::string device = detail_text(event, "kind") + " " + detail_text(event, "device");
  const bool plug = detail_text(event, "action") == "plug";
  const std::string qemu = "qemu:" + asked_side(observation, event);
  const std::string verb = plug ? "plug" : "unplug";
  if (result == "refused") return {qemu, "hotplug-refused", fmt::format("{} refused to {} {}", qemu, verb, device)};
  if (result == "not-refused") {
    return {qemu, "hotplug-not-refused",
            fmt::format("{} accepted to {} {} during a migration, which it has to refuse", qemu, verb, device)};
  }
  if (result == "done" && !base::json_get<bool>(event.detail, "confirmed", true)) {
    return {"guest", "hotplug-unconfirmed", fmt::format("the guest did not confirm the {} of {}", verb, device)};
  }
  return {};
}

void QtreeDrift::take_operation(const record::Observation& observation, const record::Event& event) {
  const DeviationWords words = deviation_of(observation, event);
  if (words.kind.empty()) return;
  const std::string action = detail_text(event, "action");
  const std::string device = detail_text(event, "device");
  const std::string error = detail_text(event, "error");
  const std::string machine = detail_text(event, "machine");
  // One finding for each kind of device and error: ids and places are the plan's, they do not make it another trouble.
  const std::string identity = fmt::format("{} {} {}", action, detail_text(event, "kind"), error);
  const auto reported = found_.report(observation.iteration, words.process, words.kind, identity);
  if (!reported.fresh) return;
  record::Finding& finding = reported.finding;
  const record::Plan& plan = observation.plan;
  const std::string place = planned_place(plan, device, action);
  finding.title = fmt::format("{}{}{} in iteration {}{}", words.what, place.empty() ? "" : " at " + place,
                              machine.empty() ? "" : " (" + machine + ")", observation.iteration,
                              error.empty() ? "" : ": " + error);
  finding.evidence["device"] = device;
  finding.evidence["type"] = detail_text(event, "kind");
  finding.evidence["action"] = action;
  finding.evidence["timing"] = detail_text(event, "timing");
  if (!place.empty()) finding.evidence["address"] = place;
  if (!error.empty()) finding.evidence["error"] = error;
  if (!machine.empty()) finding.evidence["machine"] = machine;
  finding.evidence["phase"] = event.phase;
  finding.evidence["mode"] = plan.mode;
  put_pair(finding.evidence, plan, sides_);
}

}  // namespace

std::unique_ptr<Detector> make_qtree_drift(const record::Manifest& manifest) {
  return std::make_unique<QtreeDrift>(manifest);
}

}  // namespace migsoak::detect
