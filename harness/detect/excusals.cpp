#include "detect/excusals.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <utility>

#include "detect/catalog.h"
#include "detect/quiet_point.h"

namespace migsoak::detect {

namespace {

enum class When { always, as_declared, nothing_happened, ended_guest, in_its_phase };
enum class Whose { anyone, subject, qemu, its_disks };

struct ExcusalRule {
  std::string_view name, detector, outcome;
  When when;
  Symptom::Kind symptom;
  Whose whose;
  std::string_view which, text;
};

constexpr ExcusalRule kRules[] = {
#define EXCUSAL(name, detectors, reason)
#define EXCUSES(name, detector, follows, when, symptom, whose, which, text) \
  {name, detector, record::outcome::follows, When::when, Symptom::Kind::symptom, Whose::whose, which, text},
#include "detect/excusals.def"
#undef EXCUSES
#undef EXCUSAL
};

constexpr std::string_view kItsDevices = "its-devices";

template <typename Test>
bool any_of_list(std::string_view list, const Test& test) {
  for (;;) {
    const std::size_t bar = list.find('|');
    if (test(list.substr(0, bar))) return true;
    if (bar == std::string_view::npos) return false;
    list.remove_prefix(bar + 1);
  }
}

bool names_it(const ExcusalRule& rule, const Symptom& symptom) {
  return rule.which == "*" || any_of_list(rule.which, [&](std::string_view name) {
           return name == "@migration" ? symptom.migration_words : name == symptom.which;
         });
}

bool says_so(const ExcusalRule& rule, const Symptom& symptom) {
  return rule.text == "*" || rule.text == kItsDevices || any_of_list(rule.text, [&](std::string_view words) {
           return symptom.text.find(words) != std::string_view::npos;
         });
}

bool was_so(When when, const record::ExpectedTrouble& trouble) {
  switch (when) {
    case When::always: return true;
    case When::as_declared: return trouble.seen == record::TroubleSeen::as_declared;
    case When::nothing_happened: return trouble.seen == record::TroubleSeen::nothing_happened;
    case When::ended_guest: return trouble.ended_guest;
    case When::in_its_phase: return false;  // needs no event of it: see excuse()
  }
  return false;
}

}  // namespace

Excusals::Excusals(const record::Manifest& manifest, std::string detector)
    : detector_(std::move(detector)), gate_(manifest.gate), targets_(manifest.targets) {}

void Excusals::begin_iteration(const record::Observation& observation) {
  troubles_ = record::expected_troubles_of(observation);
  // What the iteration did not come to excuses nothing.
  std::erase_if(troubles_, [](const record::ExpectedTrouble& one) { return one.result == record::kNotReached; });
}

bool Excusals::has(record::TroubleCause cause) const {
  return std::any_of(troubles_.begin(), troubles_.end(),
                     [cause](const record::ExpectedTrouble& one) { return one.declared.cause == cause; });
}

std::string Excusals::restarts_of(std::string_view disk) const {
  std::set<std::string> ways;
  for (const record::ExpectedTrouble& trouble : troubles_) {
    const bool is_its = trouble.declared.cause == record::TroubleCause::restart && serves(trouble.declared, disk) &&
                        trouble.result != record::kNotReached;
    if (is_its) ways.insert(trouble.declared.what);
  }
  return fmt::format("{}", fmt::join(ways, ", "));
}

bool Excusals::serves(const record::Declaration& declared, std::string_view disk) const {
  for (const record::TargetInfo& target : targets_) {
    // An instance that serves one side serves the same disks.
    const std::string name = "target:" + target.name;
    const bool named = std::any_of(declared.subjects.begin(), declared.subjects.end(), [&](const std::string& subject) {
      return subject == name || starts_with(subject, name + "@");
    });
    if (!named) continue;
    if (std::any_of(target.devices.begin(), target.devices.end(), [&](const auto& one) { return one.id == disk; })) {
      return true;
    }
  }
  return false;
}

// `device` as QEMU's stream has it: "0000:00:03.0/vhost-user-blk". Ids are not in there, so the type has to do.
bool Excusals::is_another_device(const record::Declaration& declared, std::string_view device) const {
  if (device.empty()) return false;
  const std::size_t slash = device.rfind('/');
  const std::string_view type = device.substr(slash == std::string_view::npos ? 0 : slash + 1);
  for (const record::TargetInfo& target : targets_) {
    for (const record::DeviceOnTarget& one : target.devices) {
      // The state of any of them is loaded as virtio's or as its own.
      if ((one.type == type || type == "virtio" || type == "virtio-blk") && serves(declared, one.id)) return false;
    }
  }
  return true;
}

bool Excusals::excuse(const Symptom& symptom, std::int64_t times) {
  const auto is_its = [&](const ExcusalRule& rule, const record::ExpectedTrouble& trouble) {
    const record::Declaration& declared = trouble.declared;
    if (!declared.allowed(rule.outcome) || !was_so(rule.when, trouble)) return false;
    if (symptom.of != nullptr && symptom.of != &trouble) return false;
    if (rule.text == kItsDevices && is_another_device(declared, symptom.text)) return false;
    switch (rule.whose) {
      case Whose::anyone: return true;
      case Whose::subject: return declared.concerns(symptom.subject);
      case Whose::qemu: return is_qemu(symptom.subject);
      case Whose::its_disks: return serves(declared, symptom.subject);
    }
    return false;
  };
  for (const ExcusalRule& rule : kRules) {
    if (rule.symptom != symptom.kind || rule.detector != detector_ || !names_it(rule, symptom) ||
        !says_so(rule, symptom))
      continue;
    // Nothing else is recorded in that phase; an attempt that was interrupted has no event.
    const bool fits = rule.when == When::in_its_phase
                          ? symptom.phase == record::event_kind::kFailedUpgradePhase && is_qemu(symptom.subject)
                          : std::any_of(troubles_.begin(), troubles_.end(),
                                        [&](const auto& trouble) { return is_its(rule, trouble); });
    if (!fits) continue;
    const std::string name(rule.name);
    if (!excluded(gate_, name)) return false;
    counts_[name] += times;
    ++revision_;
    return true;
  }
  return false;
}

base::Json detail_of_trouble(const record::Observation& observation, record::TroubleCause cause) {
  for (const record::Event& event : observation.events) {
    const auto trouble = record::expected_trouble_from(event);
    if (trouble && trouble->declared.cause == cause) return event.detail;
  }
  return base::Json::object();
}

std::vector<record::Exclusion> Excusals::exclusions() const {
  std::vector<record::Exclusion> out;
  for (const auto& [name, count] : counts_) out.push_back(exclusion_of(name, detector_, count));
  return out;
}

}  // namespace migsoak::detect
