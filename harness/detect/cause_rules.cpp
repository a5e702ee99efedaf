// The rules of causes.def.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "base/text.h"
#include "detect/catalog.h"
#include "detect/causes.h"
#include "detect/event_text.h"
#include "detect/quiet_point.h"
#include "record/known_defects.h"

namespace migsoak::detect {

namespace {

using record::Finding;

bool is_one_of(const std::string& detector, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), detector) != names.end();
}

std::string fact(const Finding& finding, const char* key) {
  return base::json_get<std::string>(finding.evidence, key, "");
}

// Iterations in which it was seen, as far as they are listed.
std::vector<std::int64_t> iterations_of(const Finding& finding) {
  std::vector<std::int64_t> iterations;
  for (const base::Json& listed : base::json_get(finding.evidence, "iterations", base::Json::array())) {
    if (listed.is_number_integer()) iterations.push_back(listed.get<std::int64_t>());
  }
  return iterations;
}

bool is_of_the_same_pair(const Finding& drift, const Finding& failure) {
  return fact(drift, "from") == fact(failure, "from") && fact(drift, "to") == fact(failure, "to");
}

// The first that explains it.
template <typename Explains>
std::optional<std::size_t> first_of(const std::vector<Finding>& findings, Explains&& explains) {
  const auto found = std::find_if(findings.begin(), findings.end(), explains);
  if (found == findings.end()) return std::nullopt;
  return static_cast<std::size_t>(found - findings.begin());
}

}  // namespace

// --- descriptors-ran-out

namespace {

constexpr double kNearShare = 0.10;
constexpr double kNearIterations = 3;

// A target that runs dry hurts whoever it serves.
bool can_hurt(const Finding& leak, const Finding& hurt) {
  if (leak.process == hurt.process) return true;
  if (hurt.process == "guest") return leak.process != "harness";
  return starts_with(leak.process, "target:") && is_qemu(hurt.process);
}

// Does the collapse at `iteration` bear out what was foretold of any life of the leaking process?
bool foretold(const Finding& leak, std::int64_t iteration) {
  const base::Json lives = base::json_get(leak.evidence, "lives", base::Json::array());
  for (const base::Json& life : lives) {
    const auto exhausts = base::json_get<std::int64_t>(life, "exhausts_at_iteration", -1);
    const auto began = base::json_get<std::int64_t>(life, "first_iteration", 0);
    const auto detected = base::json_get<std::int64_t>(life, "detected_iteration", 0);
    if (exhausts < 0 || detected > iteration) continue;
    const double near = std::max(kNearIterations, kNearShare * static_cast<double>(exhausts - began));
    if (std::abs(static_cast<double>(iteration - exhausts)) <= near) return true;
  }
  return false;
}

}  // namespace

std::optional<Cause> cause_descriptors_ran_out(const CauseContext& context, const Finding& hurt) {
  if (!is_one_of(hurt.detector,
                 {"crash", "hang", "migration-failure", "log-signature", "disk-corruption", "guest-corruption"}) ||
      !hurt.first_iteration) {
    return std::nullopt;
  }
  // One event may show in a later occurrence only; the iterations listed are looked through, the first hit counts.
  std::vector<std::int64_t> iterations = iterations_of(hurt);
  iterations.insert(iterations.begin(), *hurt.first_iteration);
  Cause cause;
  for (std::size_t i = 0; i < context.findings.size(); ++i) {
    const Finding& leak = context.findings[i];
    if (leak.detector != "fd-leak" || !can_hurt(leak, hurt)) continue;
    const auto hit = std::find_if(iterations.begin(), iterations.end(),
                                  [&](std::int64_t iteration) { return foretold(leak, iteration); });
    if (hit == iterations.end()) continue;
    const auto collapsed = base::json_get<std::int64_t>(leak.evidence, "collapsed_at_iteration", *hit);
    cause.others.emplace_back(i, base::Json{{"collapsed_at_iteration", std::min(*hit, collapsed)}});
    // The fastest kind stands for all of its process.
    const Finding* const best = cause.finding ? &context.findings[*cause.finding] : nullptr;
    if (best == nullptr || (leak.process == hurt.process && best->process != hurt.process) ||
        (leak.process == best->process && leak.rate_per_iteration > best->rate_per_iteration)) {
      cause.finding = i;
      cause.iteration = *hit;
    }
  }
  if (!cause.finding) return std::nullopt;
  const Finding& leak = context.findings[*cause.finding];
  cause.words = fmt::format(" (foretold by fd-leak of {}, proven in iteration {})", leak.process,
                            leak.detected_iteration.value_or(0));
  return cause;
}

// --- config-space-differs, virtqueue-too-large

namespace {

std::optional<Cause> by_config_space(const CauseContext& context, const std::optional<std::size_t>& drift) {
  if (!drift) return std::nullopt;
  Cause cause;
  cause.finding = drift;
  cause.iteration = context.findings[*drift].first_iteration.value_or(0);
  const std::string device = fact(context.findings[*drift], "device");
  cause.evidence["device_id"] = device;
  cause.words = fmt::format(" (explained by config-space-drift of {})", device);
  return cause;
}

}  // namespace

std::optional<Cause> cause_config_space_differs(const CauseContext& context, const Finding& failure) {
  if (failure.detector != "migration-failure" || failure.kind != "config-space") return std::nullopt;
  const std::string device = fact(failure, "device");
  return by_config_space(context, first_of(context.findings, [&](const Finding& drift) {
                           return drift.detector == "config-space-drift" && drift.kind == "refused" &&
                                  is_of_the_same_pair(drift, failure) &&
                                  (device.empty() || device == fact(drift, "path") + "/" + fact(drift, "section"));
                         }));
}

std::optional<Cause> cause_virtqueue_too_large(const CauseContext& context, const Finding& failure) {
  if (failure.detector != "migration-failure" || failure.kind != "virtqueue-size") return std::nullopt;
  return by_config_space(context, first_of(context.findings, [](const Finding& drift) {
                           return drift.detector == "config-space-drift" && drift.kind == "virtqueue" &&
                                  drift.evidence.contains("refused_in_iteration");
                         }));
}

// --- device-tree-differs

namespace {

// `name`: as QEMU's stream has it, "0000:00:02.0/1/usb-hub", "0000:00:02.0/vga.vram", "serial".
bool is_device(const Finding& drift, const std::string& name) {
  const std::size_t slash = name.rfind('/');
  if (name.substr(slash == std::string::npos ? 0 : slash + 1) == fact(drift, "type")) return true;
  for (const char* key : {"pci_address", "path"}) {
    const std::string address = fact(drift, key);
    if (!address.empty() && name.rfind(address + '/', 0) == 0) return true;
  }
  return false;
}

// Told before the load, of the pair and the iteration in which the migration failed first.
bool precedes(const Finding& drift, const Finding& failure) {
  const bool of_tree = base::json_get<bool>(drift.evidence, "before_load", false) || drift.evidence.contains("pci_id");
  if (drift.detector != "qtree-drift" || !of_tree || !failure.first_iteration) return false;
  const std::vector<std::int64_t> iterations = iterations_of(drift);
  return std::find(iterations.begin(), iterations.end(), *failure.first_iteration) != iterations.end() &&
         is_of_the_same_pair(drift, failure);
}

std::optional<std::size_t> device_behind(const std::vector<Finding>& findings, const Finding& failure) {
  std::string name = fact(failure, "device");
  if (name.empty()) {
    const base::Json fields = base::json_get(failure.evidence, "fields", base::Json::object());
    name = base::json_get<std::string>(fields, "block", "");
  }
  std::optional<std::size_t> only;
  std::size_t count = 0;
  for (std::size_t i = 0; i < findings.size(); ++i) {
    if (!precedes(findings[i], failure)) continue;
    if (!name.empty() && is_device(findings[i], name)) return i;
    only = i;
    ++count;
  }
  // An error that names no device, and only one thing that it can be about.
  return name.empty() && failure.kind == "vmstate" && count == 1 ? only : std::nullopt;
}

}  // namespace

std::optional<Cause> cause_device_tree_differs(const CauseContext& context, const Finding& failure) {
  if (failure.detector != "migration-failure" || failure.evidence.contains("cause")) return std::nullopt;
  const std::optional<std::size_t> found = device_behind(context.findings, failure);
  if (!found) return std::nullopt;
  const Finding& drift = context.findings[*found];
  const std::string id = fact(drift, "device"), type = fact(drift, "type");
  Cause cause;
  cause.finding = found;
  cause.iteration = drift.first_iteration.value_or(0);
  cause.words =
      fmt::format(" (explained by qtree-drift: {} {}{})", drift.kind, type, id.empty() || id == type ? "" : " " + id);
  return cause;
}

// --- known-defect

namespace {

// Sides whose build has it, with their versions. A page that was lost on one hop may be missed on a later one, so it
// does not matter which side is the source where the finding began.
base::Json sides_with(const record::KnownDefect& defect, const record::Manifest& manifest) {
  const auto accel = base::json_get<std::string>(manifest.environment, "accel", "");
  base::Json sides = base::Json::object();
  for (const record::SideInfo& side : manifest.sides) {
    if (record::has_defect(defect, side.qemu_version, accel)) sides[side.name] = side.qemu_version;
  }
  return sides;
}

}  // namespace

// The guest's own trouble, nonsense on its channel included. What a process of the host did is another matter, and a
// leak that was seen to run dry explains more than a defect that may have played a part.
std::optional<Cause> cause_known_defect(const CauseContext& context, const Finding& finding) {
  if (finding.process != "guest" || finding.evidence.contains("cause") ||
      !is_one_of(finding.detector,
                 {"guest-corruption", "disk-corruption", "hang", "crash", "log-signature", "migration-failure"})) {
    return std::nullopt;
  }
  const auto avoided = base::json_get(context.manifest.environment, "avoided_defects", base::Json::array());
  std::optional<Cause> cause;
  for (const record::KnownDefect& defect : record::known_defects()) {
    if (std::find(avoided.begin(), avoided.end(), defect.name) != avoided.end()) continue;
    const base::Json sides = sides_with(defect, context.manifest);
    if (sides.empty()) continue;
    cause.emplace().evidence["known"] = {{"defect", defect.name}, {"sides", sides}, {"text", record::describe(defect)}};
  }
  return cause;
}

// --- what is told elsewhere

namespace {

bool exited_with(const record::Event& event, std::int64_t status) {
  return event.kind == kinds::kUnexpectedExit && detail_int(event, "signal") == 0 &&
         detail_int(event, "exit_code", -1) == status;
}

bool refuses_a_stream(const std::string& text) {
  return text.find("load of migration failed") != std::string::npos ||
         text.find("error while loading state") != std::string::npos;
}

template <typename Is>
bool any_event(const record::Observation& observation, Is&& is) {
  return std::any_of(observation.events.begin(), observation.events.end(), is);
}

// Of a line; null for any other event, and for a line that tells of no trouble.
const LogSignature* signature_of_line(const record::Event& line) {
  const bool console = line.kind == kinds::kConsoleLine;
  if (!console && line.kind != kinds::kLogLine) return nullptr;
  return signature_of(base::printable(line.text, kLogLineBytesMax), console);
}

}  // namespace

bool told_refused_stream(const record::Observation& observation, const record::Event& event) {
  if (!exited_with(event, 1) || !is_qemu(event.subject) || !has_event(observation, kinds::kMigrationFailed)) {
    return false;
  }
  const auto last_lines = event.detail.find("last_lines");
  if (last_lines != event.detail.end() && refuses_a_stream(base::dump_json(*last_lines))) return true;
  return any_event(observation, [&](const record::Event& line) {
    return line.kind == kinds::kLogLine && line.subject == event.subject && refuses_a_stream(line.text);
  });
}

bool told_end_without_target(const record::Observation& observation, const record::Event& event) {
  return exited_with(event, 1) && is_qemu(event.subject) && a_target_ended(observation);
}

bool told_end_after_protocol_error(const record::Observation& observation, const record::Event& event) {
  if (event.kind != kinds::kUnexpectedExit || detail_int(event, "signal") != 0 ||
      detail_int(event, "exit_code", -1) >= 0) {
    return false;
  }
  return any_event(observation, [&](const record::Event& other) {
    return other.kind == kinds::kProtocolError && other.subject == event.subject;
  });
}

bool told_loss_of_ended_target(const record::Observation& observation, const record::Event& event) {
  return event.kind == kinds::kTargetLost && any_event(observation, [&](const record::Event& other) {
           return other.subject == event.subject &&
                  (other.kind == kinds::kUnexpectedExit || other.kind == kinds::kHang);
         });
}

bool is_ended_for_hung_daemon(const record::Event& end, const record::Event& hang) {
  constexpr std::string_view kDaemon = "libvirtd:", kQemu = "qemu:";
  if (hang.kind != kinds::kHang || !starts_with(hang.subject, kDaemon)) return false;
  const bool unknown_how = detail_int(end, "signal") == 0 && detail_int(end, "exit_code", -1) < 0;
  return end.kind == kinds::kUnexpectedExit && is_qemu(end.subject) && unknown_how &&
         end.subject.substr(kQemu.size()) != hang.subject.substr(kDaemon.size());
}

bool told_end_by_peer_of_hung_daemon(const record::Observation& observation, const record::Event& event) {
  return any_event(observation, [&](const record::Event& other) { return is_ended_for_hung_daemon(event, other); });
}

namespace {

bool is_end_of_daemon(const record::Event& event) {
  return event.kind == kinds::kUnexpectedExit && starts_with(event.subject, "libvirtd:");
}

}  // namespace

bool is_failure_of_ended_daemon(const record::Observation& observation, const record::Event& failure) {
  return failure.kind == kinds::kMigrationFailed && any_event(observation, is_end_of_daemon);
}

bool told_failure_of_ended_daemon(const record::Observation& observation, const record::Event& event) {
  return is_failure_of_ended_daemon(observation, event);
}

// Its daemon had let it go, or the other one had it back.
bool told_end_with_ended_daemon(const record::Observation& observation, const record::Event& event) {
  const bool unknown_how = detail_int(event, "signal") == 0 && detail_int(event, "exit_code", -1) < 0;
  return event.kind == kinds::kUnexpectedExit && is_qemu(event.subject) && unknown_how &&
         has_event(observation, kinds::kMigrationFailed) && any_event(observation, is_end_of_daemon);
}

bool is_heard_from_both(const record::Observation& observation, const record::Event& heard) {
  return heard.kind == kinds::kProtocolError && heard.subject == "guest" &&
         heard.text.find("heartbeat out of order") != std::string::npos &&
         any_event(observation,
                   [&](const record::Event& failure) { return is_failure_of_ended_daemon(observation, failure); });
}

bool told_heard_from_both(const record::Observation& observation, const record::Event& event) {
  return is_heard_from_both(observation, event);
}

bool told_line_of_daemon(const record::Observation& observation, const record::Event& line) {
  return line.kind == kinds::kLogLine && starts_with(line.subject, "libvirtd:") &&
         any_event(observation, [&](const record::Event& other) {
           return other.kind == kinds::kMigrationFailed && other.phase == line.phase;
         });
}

bool told_line_of_failed_migration(const record::Observation& observation, const record::Event& line) {
  if (!has_event(observation, kinds::kMigrationFailed)) return false;
  const LogSignature* const signature = signature_of_line(line);
  return signature != nullptr && signature->source == LogSource::migration;
}

bool told_line_of_panic(const record::Observation& observation, const record::Event& line) {
  if (!has_event(observation, kinds::kGuestPanic)) return false;
  const LogSignature* const signature = signature_of_line(line);
  return signature != nullptr && signature->name == "kernel-panic";
}

bool tells_of_a_lost_target(const record::Observation& observation, const record::Event& line) {
  if (line.kind != kinds::kLogLine || !is_qemu(line.subject) || !a_target_ended(observation)) return false;
  // QEMU's hw/virtio/vhost-user.c, hw/virtio/vhost.c and chardev/char-socket.c.
  for (const char* text : {"vhost", "msg fds", "Failed to write msg", "Failed to read msg", "Failed to connect to"}) {
    if (line.text.find(text) != std::string::npos) return true;
  }
  return false;
}

bool told_line_of_lost_target(const record::Observation& observation, const record::Event& line) {
  return tells_of_a_lost_target(observation, line);
}

}  // namespace migsoak::detect
