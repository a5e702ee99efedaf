// Which samples of an observation may be compared with earlier ones.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "record/observation.h"

namespace migsoak::detect {

inline bool starts_with(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}
inline bool is_qemu(std::string_view process) {
  return starts_with(process, "qemu:");
}

// Only completed iterations have a quiet point; a subject that did not settle has none in that iteration.
class QuietPoint {
 public:
  explicit QuietPoint(const record::Observation& observation)
      : reached_(observation.status == record::IterationStatus::completed) {
    for (const record::Event& event : observation.events) {
      if (event.kind == record::event_kind::kUnsettled) unsettled_.insert(event.subject);
    }
  }
  bool reached() const { return reached_; }
  bool comparable(const std::string& subject) const {
    return reached_ && unsettled_.count(subject) == 0 && unsettled_.count("") == 0;
  }

 private:
  bool reached_;
  std::set<std::string> unsettled_;
};

// A class holds the quiet points whose values share one base: equal context, equal destination side (a target serves
// sides that may differ), same process name (the next destination may already wait beside the running one). For a QEMU
// also the mode that brought it there: what it holds at rest depends on how it got its state (cpr-transfer leaves other
// descriptors behind than cpr-exec or precopy). A target's side of the connection is the same in all modes.
using ClassId = std::uint16_t;

class ClassTable {
 public:
  ClassId id_of(const record::Observation& observation, const std::string& process) {
    std::string key = observation.context + '\n' + observation.plan.destination_side + '\n' + process;
    if (is_qemu(process)) key += '\n' + observation.plan.mode;
    // A context that never repeats makes classes without end; they share one number, and overflowed() tells.
    const auto next = static_cast<ClassId>(std::min<std::size_t>(ids_.size(), kClassesMax));
    if (next == kClassesMax) {
      const auto found = ids_.find(key);
      return found == ids_.end() ? next : found->second;
    }
    const auto [entry, fresh] = ids_.try_emplace(std::move(key), next);
    if (fresh) {
      const auto context =
          contexts_.try_emplace(observation.context, static_cast<std::uint16_t>(contexts_.size())).first;
      names_[next] = {process, context->second};
    }
    return entry->second;
  }
  std::uint16_t context_of(ClassId id) const {
    const auto found = names_.find(id);
    return found == names_.end() ? std::uint16_t{0xffff} : found->second.context;
  }
  const std::string& process_of(ClassId id) const {
    static const std::string kNone;
    const auto found = names_.find(id);
    return found == names_.end() ? kNone : found->second.process;
  }
  static constexpr std::size_t kClassesMax = 4000;
  static bool overflowed(ClassId id) { return id >= kClassesMax; }

 private:
  struct Name {
    std::string process;
    std::uint16_t context;
  };
  std::map<std::string, ClassId> ids_;
  std::map<std::string, std::uint16_t> contexts_;
  std::map<ClassId, Name> names_;
};

}  // namespace migsoak::detect
