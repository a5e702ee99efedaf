// [hotplug] of a scenario.
#include <fmt/format.h>

#include "ops/hotplug/hotplug.h"
#include "scenario/table_reader.h"

namespace migsoak::scenario {

using base::Result;

namespace {

Result<void> read_steps(const TableReader& in, HotplugScenario& hotplug) {
  const toml::array* steps = in.table()["step"].as_array();
  for (std::size_t i = 0; steps != nullptr && i < steps->size(); ++i) {
    const TableReader item(*steps->get_as<toml::table>(i), in.file(), "hotplug.step");
    HotplugStep& step = hotplug.steps.emplace_back();
    MIGSOAK_TRY(item.read_integer("iteration", step.iteration, 0, 100'000'000));
    MIGSOAK_TRY(item.read_choice("action", step.action, {"plug", "unplug"}));
    MIGSOAK_TRY(item.read_choice("kind", step.kind, ops::hotplug_kind_names()));
    MIGSOAK_TRY(item.read_choice("timing", step.timing, ops::hotplug_timings()));
    item.read("device", step.device);
    item.read("address", step.address);
  }
  return {};
}

}  // namespace

Result<void> read_hotplug(const TableReader& in, HotplugScenario& hotplug) {
  MIGSOAK_TRY(in.read_integer("operations", hotplug.operations, 0, 100));
  MIGSOAK_TRY(in.read_integer("plugged_max", hotplug.plugged_max, 1, 64));
  MIGSOAK_TRY(in.read_integer("sweep", hotplug.sweep, 0, 24));
  MIGSOAK_TRY(in.read_integer("ports", hotplug.ports, 1, 20));
  std::string plug_on = "any";
  MIGSOAK_TRY(in.read_choice("plug_on", plug_on, {"any", "first"}));
  hotplug.plug_on_first = plug_on == "first";
  MIGSOAK_TRY(in.read_size("size", hotplug.size_bytes, 1ull << 20, 1ull << 40));
  in.read("target", hotplug.target);
  in.read("keep", hotplug.keep);
  for (const std::string& kind : hotplug.keep) MIGSOAK_TRY(in.check_choice("keep", kind, ops::hotplug_kind_names()));
  MIGSOAK_TRY(in.read_weights("kinds", ops::hotplug_kind_names(), hotplug.kinds));
  MIGSOAK_TRY(in.read_weights("timings", ops::hotplug_timings(), hotplug.timings));
  if (hotplug.timings.empty()) hotplug.timings = {{"settled", 1}};
  if (const toml::table* props = in.table()["props"].as_table()) {
    for (const auto& [kind, node] : *props) hotplug.props[std::string(kind.str())] = read_props(node.as_table());
  }
  if (const toml::table* on = in.table()["on"].as_table()) {
    for (const auto& [side, kinds] : *on) {
      if (!kinds.is_table()) continue;
      for (const auto& [kind, node] : *kinds.as_table()) {
        hotplug.on[std::string(side.str())][std::string(kind.str())] = read_props(node.as_table());
      }
    }
  }
  MIGSOAK_TRY(read_steps(in, hotplug));
  if ((hotplug.operations > 0 || hotplug.sweep > 0) && hotplug.kinds.empty()) {
    return in.error("kinds", "drawn operations need [hotplug.kinds], like virtio-blk = 1");
  }
  return {};
}

}  // namespace migsoak::scenario
