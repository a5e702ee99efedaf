// Expands the .def lists of this room into declarations and tables.
#include "detect/catalog.h"

#include "pci/virtio_config.h"

namespace migsoak::detect {

// MakeDetector functions live in the detectors' own files.
#define DETECTOR(suffix, name, summary) std::unique_ptr<Detector> make_##suffix(const record::Manifest& manifest);
#include "detect/detectors.def"
#undef DETECTOR

const std::vector<DetectorInfo>& detectors() {
  static const std::vector<DetectorInfo> kTable = {
#define DETECTOR(suffix, name, summary) {name, summary, &make_##suffix},
#include "detect/detectors.def"
#undef DETECTOR
  };
  return kTable;
}

const std::vector<KnownBenign>& known_benign() {
  static const std::vector<KnownBenign> kTable = {
#define KNOWN_BENIGN(name, subject_prefix, pattern, reason) {name, subject_prefix, pattern, reason},
#include "detect/known_benign.def"
#undef KNOWN_BENIGN
  };
  return kTable;
}

const std::vector<Excusal>& excusals() {
  static const std::vector<Excusal> kTable = {
#define EXCUSAL(name, detectors, reason) {name, detectors, reason},
#define EXCUSES(name, detector, follows, when, symptom, whose, which, text)
#include "detect/excusals.def"
#undef EXCUSES
#undef EXCUSAL
  };
  return kTable;
}

const std::vector<VolatileConfig>& volatile_config() {
  static const std::vector<VolatileConfig> kTable = {
#define VOLATILE_CONFIG(name, field, bits, reason) {name, field, bits, reason},
#include "detect/volatile_config.def"
#undef VOLATILE_CONFIG
  };
  return kTable;
}

const std::vector<DeviceTreeKnown>& device_tree_known() {
  static const std::vector<DeviceTreeKnown> kTable = {
#define DEVICE_TREE_RULE(name, reason) {name, "", "", reason},
#define DEVICE_TREE_KNOWN(name, what, pattern, reason) {name, #what, pattern, reason},
#include "detect/device_tree_known.def"
#undef DEVICE_TREE_KNOWN
#undef DEVICE_TREE_RULE
  };
  return kTable;
}

const std::vector<GateLimit>& gate_limits() {
  static const std::vector<GateLimit> kTable = {
#define GATE_LIMIT(name, fallback, summary) {name, fallback, summary},
#include "detect/gate_limits.def"
#undef GATE_LIMIT
  };
  return kTable;
}

const std::vector<LogSignature>& log_signatures() {
  static const std::vector<LogSignature> kTable = {
#define LOG_SIGNATURE(name, source, text, meaning) {name, LogSource::source, text, meaning},
#include "detect/log_signatures.def"
#undef LOG_SIGNATURE
  };
  return kTable;
}

const LogSignature* signature_of(std::string_view line, bool console) {
  for (const LogSignature& signature : log_signatures()) {
    if ((signature.source == LogSource::console) == console && line.find(signature.text) != std::string_view::npos) {
      return &signature;
    }
  }
  return nullptr;
}

std::vector<std::string> exclusion_names() {
  std::vector<std::string> names;
  for (const KnownBenign& entry : known_benign()) names.push_back(entry.name);
  for (const Excusal& entry : excusals()) names.push_back(entry.name);
  for (const VolatileConfig& entry : volatile_config()) names.push_back(entry.name);
  for (const DeviceTreeKnown& entry : device_tree_known()) names.push_back(entry.name);
  for (const auto& field : pci::virtio_config_fields()) {
    if (field.kind != pci::ConfigFieldKind::fixed) names.push_back(field.name());
  }
  return names;
}

// Beyond this a limit means "never"; it still fits every integer type it is put into.
static constexpr double kLimitMax = 1e9;

double gate_limit(const record::GatePolicy& gate, const std::string& name) {
  if (const auto set = gate.limits.find(name); set != gate.limits.end() && set->second >= 0) {
    return std::min(set->second, kLimitMax);
  }
  for (const GateLimit& limit : gate_limits()) {
    if (limit.name == name) return limit.fallback;
  }
  assert(false && "a limit that gate_limits.def does not know");
  return 0;
}

bool excluded(const record::GatePolicy& gate, const std::string& name) {
  const auto& reported = gate.report_benign;
  return std::find(reported.begin(), reported.end(), name) == reported.end();
}

record::Exclusion exclusion_of(const std::string& name, const std::string& detector, std::int64_t count) {
  for (const Excusal& entry : excusals()) {
    if (entry.name == name) return {name, detector, entry.reason, count};
  }
  assert(false && "an excusal that excusals.def does not know");
  return {};
}

}  // namespace migsoak::detect
