// Manifest: everything about a run that does not change from iteration to iteration; enough to judge and to replay.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "record/finding.h"

namespace migsoak::record {

struct DeviceOnTarget {
  std::string id;
  std::string type;
  int queues = 1;
};
struct TargetInfo {
  std::string name;
  std::string kind;
  std::string share;  // "one" | "per-side" | "per-vm"
  std::int64_t nofile = 0;
  std::vector<DeviceOnTarget> devices;
};
struct SideInfo {
  std::string name;
  std::string qemu;          // as the scenario says
  std::string qemu_version;  // as the binary says
};

struct Manifest {
  std::string run;            // "<scenario>-<UTC time>"
  std::string scenario;       // its name
  std::string scenario_text;  // the scenario resolved (defaults, --set applied), as TOML: what replay runs
  std::string scenario_dir;   // what its relative paths were relative to
  std::uint64_t seed = 0;
  std::int64_t iterations_planned = 0;  // the run ends before this one
  std::int64_t first_iteration = 0;     // a replay begins later
  std::int64_t started_unix_ms = 0;
  std::string migsoak_version;
  std::vector<SideInfo> sides;
  std::vector<TargetInfo> targets;
  GatePolicy gate;
  base::Json environment = base::Json::object();  // packages, kernel, limits, accelerator, cpu

  std::int64_t planned_count() const { return iterations_planned - first_iteration; }
};

base::Json to_json(const Manifest& manifest);
base::Result<Manifest> manifest_from_json(const base::Json& json);

}  // namespace migsoak::record
