#include "plan/libvirt_plan.h"

#include <algorithm>
#include <cassert>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "hypervisor/libvirt_ways.h"

namespace migsoak::plan {

void plan_libvirt(const scenario::Scenario& scenario, base::Rng& rng, record::Plan& plan) {
  const scenario::LibvirtScenario& asked = scenario.libvirt;
  record::LibvirtWay way;
  way.bandwidth_mib = asked.bandwidth_mib;
  for (const auto& [name, chance] : asked.flags) {
    if (chance == 100) way.flags.push_back(name);
  }
  std::vector<std::pair<std::string, std::string>> fitting;
  for (const std::string& managed : asked.managed) {
    for (const std::string& transport : asked.transports) {
      way.managed = managed;
      if (hypervisor::libvirt_conflict(transport, way).empty()) fitting.emplace_back(managed, transport);
    }
  }
  assert(!fitting.empty() && "the scenario was checked");
  std::tie(way.managed, plan.transport) = fitting[rng.below(fitting.size())];
  for (const auto& [name, chance] : asked.flags) {
    const bool drawn = rng.below(100) < chance;
    if (!drawn || chance == 100) continue;
    record::LibvirtWay more = way;
    more.flags.push_back(name);
    if (hypervisor::libvirt_conflict(plan.transport, more).empty()) way = std::move(more);
  }
  const bool parallel = std::find(way.flags.begin(), way.flags.end(), "parallel") != way.flags.end();
  if (parallel) way.parallel_connections = asked.parallel_connections;
  plan.libvirt = std::move(way);
}

}  // namespace migsoak::plan
