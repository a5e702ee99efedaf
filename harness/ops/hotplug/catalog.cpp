#include "ops/hotplug/hotplug.h"

namespace migsoak::ops {

#define KIND(function) HotplugKind kind_##function();
#include "ops/hotplug/kinds.def"
#undef KIND

const std::vector<HotplugKind>& hotplug_kinds() {
  static const std::vector<HotplugKind> kinds = {
#define KIND(function) kind_##function(),
#include "ops/hotplug/kinds.def"
#undef KIND
  };
  return kinds;
}

const HotplugKind* find_hotplug_kind(const std::string& name) {
  for (const HotplugKind& kind : hotplug_kinds()) {
    if (kind.name == name) return &kind;
  }
  return nullptr;
}

std::vector<std::string> hotplug_kind_names() {
  std::vector<std::string> names;
  for (const HotplugKind& kind : hotplug_kinds()) names.push_back(kind.name);
  return names;
}

const std::vector<std::string>& hotplug_timings() {
  static const std::vector<std::string> timings = {"settled", "at-once", "refused"};
  return timings;
}

}  // namespace migsoak::ops
