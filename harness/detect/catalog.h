// Inside the room: look-ups in the .def lists.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "detect/judge.h"

namespace migsoak::detect {

enum class LogSource { process, migration, console };
struct LogSignature {
  std::string_view name;
  LogSource source;
  std::string_view text;
  std::string_view meaning;
};
const std::vector<LogSignature>& log_signatures();
// As much of a line as is looked at: std::regex recurses per character.
inline constexpr std::size_t kLogLineBytesMax = 400;
// The first entry whose text the line contains; nullptr when none does. `console`: of the guest, else of a process.
const LogSignature* signature_of(std::string_view line, bool console);

// Read-only bits of configuration space that change of themselves (volatile_config.def).
struct VolatileConfig {
  std::string name, field;
  std::uint64_t bits = 0;  // of the field, little-endian
  std::string reason;
};
const std::vector<VolatileConfig>& volatile_config();

// What differs between the device trees of two builds (device_tree_known.def). No pattern: a rule of the code.
struct DeviceTreeKnown {
  std::string name, what, pattern, reason;
};
const std::vector<DeviceTreeKnown>& device_tree_known();

// The limit in force: the scenario's, else the catalogue's. The name must be in gate_limits.def.
double gate_limit(const record::GatePolicy& gate, const std::string& name);
// Is this known-benign entry or excusal in force, i.e. not listed in report_benign?
bool excluded(const record::GatePolicy& gate, const std::string& name);
record::Exclusion exclusion_of(const std::string& name, const std::string& detector, std::int64_t count);

}  // namespace migsoak::detect
