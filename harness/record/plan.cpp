#include "record/plan.h"

#include "record/json_fields.h"

namespace migsoak::record {

base::Json to_json(const PlannedOperation& operation) {
  return {{"kind", operation.kind},     {"action", operation.action}, {"timing", operation.timing},
          {"device", operation.device}, {"bus", operation.bus},       {"address", operation.address}};
}

base::Json to_json(const PlannedRestart& restart) {
  const bool of_target = restart.daemon.empty();
  return {{of_target ? "target" : "daemon", of_target ? restart.target : restart.daemon},
          {"how", restart.how},
          {"timing", restart.timing},
          {"expect", restart.expect}};
}

base::Json to_json(const LibvirtWay& way) {
  base::Json json{{"managed", way.managed}};
  if (!way.flags.empty()) json["flags"] = way.flags;
  if (way.bandwidth_mib > 0) json["bandwidth_mib"] = way.bandwidth_mib;
  if (way.parallel_connections > 0) json["parallel_connections"] = way.parallel_connections;
  return json;
}

base::Json to_json(const Plan& plan) {
  base::Json json{{"iteration", plan.iteration},
                  {"source", plan.source_side},
                  {"destination", plan.destination_side},
                  {"mode", plan.mode},
                  {"transport", plan.transport}};
  if (!plan.machine.empty()) json["machine"] = plan.machine;
  for (const PlannedOperation& operation : plan.operations) json["operations"].push_back(to_json(operation));
  if (plan.expect != kExpectCompletes) json["expect"] = plan.expect;
  if (!plan.upgrade_failure.empty()) json["upgrade_failure"] = plan.upgrade_failure;
  for (const PlannedRestart& restart : plan.restarts) json["restarts"].push_back(to_json(restart));
  if (plan.libvirt) json["libvirt"] = to_json(*plan.libvirt);
  return json;
}

namespace {

bool read_operation(const base::Json& json, PlannedOperation& into) {
  return json.is_object() && read_field(json, "kind", into.kind) && read_field(json, "action", into.action) &&
         read_field(json, "timing", into.timing) && read_field(json, "device", into.device) &&
         read_field(json, "bus", into.bus) && read_field(json, "address", into.address);
}

bool read_restart(const base::Json& json, PlannedRestart& into) {
  return json.is_object() && read_field(json, "target", into.target) && read_field(json, "how", into.how) &&
         read_field(json, "timing", into.timing) && read_field(json, "expect", into.expect) &&
         read_field(json, "daemon", into.daemon);
}

bool read_way(const base::Json& json, LibvirtWay& into) {
  const base::Json flags = json.is_object() ? json.value("flags", base::Json::array()) : base::Json();
  if (!flags.is_array()) return false;
  for (const base::Json& flag : flags) {
    if (!flag.is_string()) return false;
    into.flags.push_back(flag.get<std::string>());
  }
  return read_field(json, "managed", into.managed) && read_field(json, "bandwidth_mib", into.bandwidth_mib) &&
         read_field(json, "parallel_connections", into.parallel_connections);
}

}  // namespace

base::Result<Plan> plan_from_json(const base::Json& json) {
  Plan plan;
  if (!json.is_object() || !read_field(json, "iteration", plan.iteration) ||
      !read_field(json, "source", plan.source_side) || !read_field(json, "destination", plan.destination_side) ||
      !read_field(json, "mode", plan.mode) || !read_field(json, "transport", plan.transport) ||
      !read_field(json, "machine", plan.machine) || !read_field(json, "expect", plan.expect) ||
      !read_field(json, "upgrade_failure", plan.upgrade_failure)) {
    return wrong_field("plan");
  }
  const base::Json operations = json.value("operations", base::Json::array());
  if (!operations.is_array()) return wrong_field("plan");
  for (const base::Json& entry : operations) {
    if (!read_operation(entry, plan.operations.emplace_back())) return wrong_field("plan");
  }
  const base::Json restarts = json.value("restarts", base::Json::array());
  if (!restarts.is_array()) return wrong_field("plan");
  for (const base::Json& entry : restarts) {
    if (!read_restart(entry, plan.restarts.emplace_back())) return wrong_field("plan");
  }
  if (json.contains("libvirt") && !read_way(json["libvirt"], plan.libvirt.emplace())) return wrong_field("plan");
  return plan;
}

}  // namespace migsoak::record
