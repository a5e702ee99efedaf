#include "record/manifest.h"

#include "record/json_fields.h"

namespace migsoak::record {

base::Json to_json(const Manifest& manifest) {
  base::Json sides = base::Json::array();
  for (const SideInfo& side : manifest.sides) {
    sides.push_back({{"name", side.name}, {"qemu", side.qemu}, {"qemu_version", side.qemu_version}});
  }
  base::Json targets = base::Json::array();
  for (const TargetInfo& target : manifest.targets) {
    base::Json devices = base::Json::array();
    for (const DeviceOnTarget& device : target.devices) {
      devices.push_back({{"id", device.id}, {"type", device.type}, {"queues", device.queues}});
    }
    targets.push_back({{"name", target.name},
                       {"kind", target.kind},
                       {"share", target.share},
                       {"nofile", target.nofile},
                       {"devices", devices}});
  }
  return {{"run", manifest.run},
          {"scenario", manifest.scenario},
          {"scenario_text", manifest.scenario_text},
          {"scenario_dir", manifest.scenario_dir},
          {"seed", manifest.seed},
          {"iterations_planned", manifest.iterations_planned},
          {"first_iteration", manifest.first_iteration},
          {"started_unix_ms", manifest.started_unix_ms},
          {"migsoak_version", manifest.migsoak_version},
          {"sides", sides},
          {"targets", targets},
          {"gate", to_json(manifest.gate)},
          {"environment", manifest.environment}};
}

namespace {

base::Result<TargetInfo> target_from_json(const base::Json& item) {
  TargetInfo target;
  if (!item.is_object() || !read_field(item, "name", target.name) || !read_field(item, "kind", target.kind) ||
      !read_field(item, "share", target.share) || !read_field(item, "nofile", target.nofile)) {
    return wrong_field("manifest target");
  }
  const base::Json devices = base::json_get(item, "devices", base::Json::array());
  for (const base::Json& entry : devices) {
    DeviceOnTarget device;
    if (!entry.is_object() || !read_field(entry, "id", device.id) || !read_field(entry, "type", device.type) ||
        !read_field(entry, "queues", device.queues)) {
      return wrong_field("manifest device");
    }
    target.devices.push_back(device);
  }
  return target;
}

}  // namespace

base::Result<Manifest> manifest_from_json(const base::Json& json) {
  Manifest manifest;
  if (!json.is_object() || !read_field(json, "run", manifest.run) || !read_field(json, "scenario", manifest.scenario) ||
      !read_field(json, "scenario_text", manifest.scenario_text) ||
      !read_field(json, "scenario_dir", manifest.scenario_dir) || !read_field(json, "seed", manifest.seed) ||
      !read_field(json, "iterations_planned", manifest.iterations_planned) ||
      !read_field(json, "first_iteration", manifest.first_iteration) ||
      !read_field(json, "started_unix_ms", manifest.started_unix_ms) ||
      !read_field(json, "migsoak_version", manifest.migsoak_version) ||
      !read_field(json, "environment", manifest.environment)) {
    return wrong_field("manifest");
  }
  const base::Json sides = base::json_get(json, "sides", base::Json::array());
  for (const base::Json& item : sides) {
    SideInfo side;
    if (!item.is_object() || !read_field(item, "name", side.name) || !read_field(item, "qemu", side.qemu) ||
        !read_field(item, "qemu_version", side.qemu_version)) {
      return wrong_field("manifest side");
    }
    manifest.sides.push_back(side);
  }
  const base::Json targets = base::json_get(json, "targets", base::Json::array());
  for (const base::Json& item : targets) {
    MIGSOAK_ASSIGN(TargetInfo target, target_from_json(item));
    manifest.targets.push_back(std::move(target));
  }
  if (json.contains("gate")) {
    MIGSOAK_ASSIGN(manifest.gate, gate_policy_from_json(json["gate"]));
  }
  return manifest;
}

}  // namespace migsoak::record
