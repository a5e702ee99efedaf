// config-space-drift: what a device is differs between the two sides of a migration, or between two readings of it on
// one side. Five kinds:
//   refused    QEMU's load check refused the source's bytes; the error line is decoded with the recorded images
//   silent     the check passes (or has not been asked yet), and BAR sizes, capabilities, read-only bytes or a virtio
//              device's configuration behind its BAR differ all the same: the guest goes on with a device that is not
//              what it found, until a placement comes that fails
//   drift      the same device on the same side differs from an earlier iteration of the lineage
//   virtqueue  the guest's queues are larger than the destination, or the queue-size property, allows
//   (virtqueue_drift.h)
//   guest-view the guest itself reads something else than the source was, or than it read before (guest_view_drift.h)
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "base/text.h"
#include "detect/catalog.h"
#include "detect/config_compare.h"
#include "detect/event_text.h"
#include "detect/finding_set.h"
#include "detect/guest_view_drift.h"
#include "detect/quiet_point.h"
#include "detect/virtqueue_drift.h"
#include "pci/load_rule.h"
#include "pci/virtio_config.h"

namespace migsoak::detect {

namespace {

constexpr std::size_t kAlikeMax = 8;
constexpr std::size_t kRememberedMax = 4096;  // functions; a run that plugs at ever new addresses must not grow this

// What was read of a function last, by side, point and path.
struct Remembered {
  int lineage = 0;
  std::int64_t iteration = 0;
  record::ConfigFunction function;
  std::string entry;  // its line of the device set
  // Where both were taken from as they are; null: from more than one reading.
  std::shared_ptr<const record::ConfigSpace> space;
  std::shared_ptr<const base::Json> device_set;
};

class ConfigSpaceDrift final : public FindingSetDetector {
 public:
  explicit ConfigSpaceDrift(const record::Manifest& manifest)
      : FindingSetDetector("config-space-drift"),
        sides_(manifest.sides),
        compare_(manifest.gate),
        queues_(manifest.sides) {}
  std::vector<record::Exclusion> exclusions() const override;

 private:
  void fold(const record::Observation& observation) override;
  void take_refused(const record::Observation& observation);
  void take_config_error(const record::Observation& observation, const pci::LoadError& error);
  void take_silent(const record::Observation& observation);
  void take_drift(const record::Observation& observation, const SideDocuments& side, bool pristine);
  void take_virtqueues(const record::Observation& observation);
  void take_guest_view(const record::Observation& observation);

  // The function's bytes as read now, else as last seen there; its BARs always as read now.
  record::ConfigFunction best_known(const SideDocuments& side, const std::string& point, const std::string& path) const;
  record::Finding& file(const record::Observation& observation, const std::string& process, const std::string& kind,
                        const DeviceName& device, const std::string& identity, const std::string& field, bool& fresh);

  std::vector<record::SideInfo> sides_;
  ConfigCompare compare_;
  VirtqueueDrift queues_;
  GuestViewDrift guest_view_;
  DocumentCache documents_;
  SideDocuments source_, destination_;  // of the iteration at hand
  // Of a destination that could not be asked before the load: its BARs once the guest was in it. Else null.
  std::shared_ptr<const record::ConfigSpace> arrived_;
  std::set<std::string> refused_;  // device and field, of the iteration at hand
  std::map<std::string, Remembered> remembered_;
  // Sources and destinations between which nothing was found, nor held back: the last ones.
  std::vector<std::pair<std::shared_ptr<const record::ConfigSpace>, std::shared_ptr<const record::ConfigSpace>>> alike_;
};

std::string remembered_key(const std::string& side, const std::string& point, const std::string& path) {
  return side + '\n' + point + '\n' + path;
}

std::string direction_of(const record::Plan& plan) {
  return plan.source_side + '>' + plan.destination_side + ' ';
}

std::string with_properties(const std::vector<std::string>& properties) {
  return properties.empty() ? "" : "; property " + base::join(properties, "; ");
}

// Every line that may belong to a refused load, as QEMU said them.
std::vector<std::vector<std::string>> lines_of_refusal(const record::Observation& observation) {
  std::vector<std::vector<std::string>> sources;
  std::vector<std::string> log;
  for (const record::Event& event : observation.events) {
    if (event.kind == kinds::kMigrationFailed) {
      std::vector<std::string> tail;
      const base::Json lines = base::json_get(event.detail, "destination_log", base::Json::array());
      for (const base::Json& line : lines.is_array() ? lines : base::Json::array()) {
        if (line.is_string()) tail.push_back(line.get<std::string>());
      }
      sources.push_back(std::move(tail));
      sources.push_back({base::json_get<std::string>(event.detail, "error_desc", ""), event.text});
    } else if (event.kind == kinds::kLogLine && is_qemu(event.subject)) {
      log.push_back(event.text);
    }
  }
  sources.push_back(std::move(log));
  return sources;
}

// An image that holds what query-pci tells, for a function whose bytes were not read: enough to name a BAR.
pci::ConfigImage image_from_bars(const record::ConfigFunction& function) {
  pci::ConfigImage image(pci::kConventionalBytes);
  for (const pci::Bar& bar : bars_of(function)) {
    if (bar.index == pci::kRomBar) continue;
    const std::size_t offset = 0x10 + 4 * static_cast<std::size_t>(bar.index);
    const std::uint32_t flags = bar.kind == pci::BarKind::io ? 1 : bar.kind == pci::BarKind::mem64 ? 4 : 0;
    image.set_u32(offset, static_cast<std::uint32_t>(bar.address) | flags);
    if (bar.kind == pci::BarKind::mem64) image.set_u32(offset + 4, static_cast<std::uint32_t>(bar.address >> 32));
  }
  return image;
}

std::uint64_t bar_size_at(const record::ConfigFunction& function, std::size_t offset) {
  for (const record::ConfigBar& bar : function.bars) {
    const std::size_t at = bar.index == pci::kRomBar ? 0x30 : 0x10 + 4 * static_cast<std::size_t>(bar.index);
    if (offset >= at && offset < at + (bar.kind == "mem64" ? 8 : 4)) return bar.size;
  }
  return 0;
}

std::vector<record::Exclusion> ConfigSpaceDrift::exclusions() const {
  std::vector<record::Exclusion> all;
  for (const VolatileConfig& entry : volatile_config()) {
    const auto held = compare_.held_back().find(entry.name);
    if (held != compare_.held_back().end()) {
      all.push_back({entry.name, "config-space-drift", entry.reason, held->second});
    }
  }
  for (const auto& field : pci::virtio_config_fields()) {
    const auto held = compare_.held_back().find(field.name());
    if (held == compare_.held_back().end()) continue;
    all.push_back({field.name(), "config-space-drift", std::string(field.reason), held->second});
  }
  return all;
}

record::ConfigFunction ConfigSpaceDrift::best_known(const SideDocuments& side, const std::string& point,
                                                    const std::string& path) const {
  const record::ConfigFunction* now = side.space ? side.space->find(path) : nullptr;
  record::ConfigFunction best = now != nullptr ? *now : record::ConfigFunction{};
  if (best.size > 0) return best;
  const auto before = remembered_.find(remembered_key(side.side, point, path));
  if (before == remembered_.end()) return best;
  if (now == nullptr) return before->second.function;
  // BAR registers of old bytes are old: put in what is known of them now.
  if (before->second.function.device != best.device || !image_of(before->second.function)) return best;
  pci::ConfigImage image = *image_of(before->second.function);
  const pci::ConfigImage registers = image_from_bars(best);
  for (std::size_t i = 0x10; i < (pci::is_bridge(image) ? 0x18u : 0x28u); ++i) image.set_u8(i, registers.u8(i));
  best.size = static_cast<std::int64_t>(image.size());
  best.bytes = pci::to_hex(image);
  return best;
}

record::Finding& ConfigSpaceDrift::file(const record::Observation& observation, const std::string& process,
                                        const std::string& kind, const DeviceName& device, const std::string& identity,
                                        const std::string& field, bool& fresh) {
  const record::Plan& plan = observation.plan;
  const auto reported = found_.report(observation.iteration, process, kind, unfolded(identity + ' ' + field));
  fresh = reported.fresh;
  if (!fresh) return reported.finding;
  base::Json& evidence = reported.finding.evidence;
  evidence["device"] = device.key();
  evidence["type"] = device.type;
  evidence["address"] = device.address;
  evidence["field"] = field;
  put_pair(evidence, plan, sides_);
  const auto properties = differing_properties(source_, destination_, device.id);
  if (!properties.empty()) evidence["properties"] = properties;
  return reported.finding;
}

void ConfigSpaceDrift::fold(const record::Observation& observation) {
  source_ = documents_.at(observation, "source");
  destination_ = documents_.at(observation, "destination");
  arrived_ = documents_.at(observation, "arrived").space;
  refused_.clear();
  queues_.begin(observation);
  take_refused(observation);
  take_silent(observation);
  take_drift(observation, source_, false);
  take_drift(observation, destination_, true);
  take_virtqueues(observation);
  take_guest_view(observation);
}

void ConfigSpaceDrift::take_refused(const record::Observation& observation) {
  if (!has_event(observation, kinds::kMigrationFailed)) return;
  std::vector<pci::LoadError> errors;
  for (const auto& lines : lines_of_refusal(observation)) {
    for (pci::LoadError& error : pci::parse_load_errors(lines)) {
      // The same refusal stands in the log, in the error description and among the events; the one that names the
      // device counts.
      const auto same = std::find_if(errors.begin(), errors.end(), [&](const pci::LoadError& other) {
        return error.config == other.config && error.ring.has_value() == other.ring.has_value() &&
               error.features.has_value() == other.features.has_value() &&
               (error.path == other.path || error.path.empty() || other.path.empty());
      });
      if (same == errors.end()) {
        errors.push_back(std::move(error));
      } else if (same->path.empty()) {
        *same = std::move(error);
      }
    }
  }
  for (const pci::LoadError& error : errors) {
    if (error.config) take_config_error(observation, error);
    if (error.ring) queues_.refused(destination_.name_of(error.path, error.section), *error.ring, error.lines);
  }
}

void ConfigSpaceDrift::take_config_error(const record::Observation& observation, const pci::LoadError& error) {
  const record::Plan& plan = observation.plan;
  DeviceName device = source_.name_of(error.path, error.section);
  if (device.id.empty()) device = destination_.name_of(error.path, error.section);
  const record::ConfigFunction from = best_known(source_, "source", error.path);
  const record::ConfigFunction to = best_known(destination_, "destination", error.path);
  std::optional<pci::ConfigImage> from_image = image_of(from), to_image = image_of(to);
  if (!from_image && !from.bars.empty()) from_image = image_from_bars(from);
  const pci::SideView source_view{from_image ? &*from_image : nullptr, bar_size_at(from, error.config->offset)};
  const pci::SideView destination_view{to_image ? &*to_image : nullptr, bar_size_at(to, error.config->offset)};
  const pci::ConfigImage plain(error.config->offset < pci::kConventionalBytes ? pci::kConventionalBytes
                                                                              : pci::kExtendedBytes);
  const pci::ConfigImage& named = to_image ? *to_image : from_image ? *from_image : plain;
  const std::string field = pci::field_at(named, error.config->offset).name;
  refused_.insert(device.key() + '\n' + field);
  bool fresh = false;
  record::Finding& finding = file(observation, "qemu:" + plan.destination_side, "refused", device,
                                  direction_of(plan) + device.key(), field, fresh);
  if (!fresh) return;
  const std::string words = pci::explain(*error.config, source_view, destination_view);
  const pci::BadConfigData& data = *error.config;
  finding.title = fmt::format(
      "{}, {} to {}: {}; the load was refused in iteration {} (byte {:#04x}: source {:#04x}, destination {:#04x}, "
      "cmask "
      "{:#04x}, wmask {:#04x}, w1cmask {:#04x}){}",
      device.words(), plan.source_side, plan.destination_side, words, observation.iteration, data.offset, data.read,
      data.device, data.cmask, data.wmask, data.w1cmask,
      with_properties(differing_properties(source_, destination_, device.id)));
  finding.evidence["decoded"] = words;
  finding.evidence["offset"] = data.offset;
  finding.evidence["path"] = error.path;
  finding.evidence["section"] = error.section;
  finding.evidence["source"] = data.read;
  finding.evidence["destination"] = data.device;
  finding.evidence["masks"] = {{"cmask", data.cmask}, {"wmask", data.wmask}, {"w1cmask", data.w1cmask}};
  finding.evidence["refused_bits"] = data.refused();
  if (source_view.bar_size != 0) finding.evidence["source_bytes"] = source_view.bar_size;
  if (destination_view.bar_size != 0) finding.evidence["destination_bytes"] = destination_view.bar_size;
  finding.evidence["lines"] = error.lines;
}

void ConfigSpaceDrift::take_silent(const record::Observation& observation) {
  const auto& there = destination_.space ? destination_.space : arrived_;
  if (!source_.space || !there) return;
  const std::pair both(source_.space, there);
  if (std::find(alike_.begin(), alike_.end(), both) != alike_.end()) return;
  const auto held_back = compare_.held_back();
  bool all_alike = true;
  const record::Plan& plan = observation.plan;
  const bool passed = observation.status == record::IterationStatus::completed;
  for (const record::ConfigFunction& from : source_.space->functions) {
    const record::ConfigFunction* to = there->find(from.path);
    // A device that is on one side only is the device tree's affair; another device at the same place, too.
    if (to == nullptr || (from.id != to->id && !from.id.empty() && !to->id.empty())) continue;
    const DeviceName device = source_.name_of(from.path);
    auto differences = compare_.compare({&from, "source"}, {to, "destination"}, CompareAs::sides);
    for (ConfigDifference& more : compare_.compare_device_config({&from, "source"}, {to, "destination"})) {
      differences.push_back(std::move(more));
    }
    all_alike = all_alike && differences.empty();
    for (const ConfigDifference& difference : differences) {
      if (refused_.count(device.key() + '\n' + difference.field) > 0) continue;
      bool fresh = false;
      record::Finding& finding = file(observation, "qemu:" + plan.destination_side, "silent", device,
                                      direction_of(plan) + device.key(), difference.field, fresh);
      if (!fresh) continue;
      finding.title =
          fmt::format("{}, {} to {}: {}; {} in iteration {}{}", device.words(), plan.source_side, plan.destination_side,
                      difference.words, passed ? "the load passed silently" : "seen before the load",
                      observation.iteration, with_properties(differing_properties(source_, destination_, device.id)));
      finding.evidence["decoded"] = difference.words;
      finding.evidence["path"] = from.path;
      finding.evidence.update(difference.evidence);
    }
  }
  if (!all_alike || held_back != compare_.held_back()) return;
  if (alike_.size() >= kAlikeMax) alike_.erase(alike_.begin());
  alike_.push_back(both);
}

void ConfigSpaceDrift::take_drift(const record::Observation& observation, const SideDocuments& side, bool pristine) {
  if (!side.space) return;
  const std::string point = pristine ? "destination" : "source";
  for (const record::ConfigFunction& function : side.space->functions) {
    const std::string key = remembered_key(side.side, point, function.path);
    const auto before = remembered_.find(key);
    if (before != remembered_.end() && before->second.space == side.space &&
        before->second.device_set == side.device_set && before->second.lineage == observation.lineage) {
      before->second.iteration = observation.iteration;  // the very same reading
      continue;
    }
    const std::string entry = base::dump_json(side.device(function.id));
    const bool comparable = before != remembered_.end() && before->second.lineage == observation.lineage &&
                            before->second.entry == entry && before->second.function.id == function.id &&
                            before->second.function.device == function.device;
    if (comparable) {
      const DeviceName device = side.name_of(function.path);
      const Reading then{&before->second.function, fmt::format("iteration {}", before->second.iteration)};
      const Reading now{&function, fmt::format("iteration {}", observation.iteration)};
      for (const ConfigDifference& difference :
           compare_.compare(then, now, pristine ? CompareAs::time_pristine : CompareAs::time)) {
        bool fresh = false;
        record::Finding& finding =
            file(observation, "qemu:" + side.side, "drift", device, device.key(), difference.field, fresh);
        if (!fresh) continue;
        finding.title = fmt::format("{} on {} is not what it was before, though nothing of it changed: {}",
                                    device.words(), side.side, difference.words);
        finding.evidence.update(difference.evidence);
        finding.evidence["decoded"] = difference.words;
        finding.evidence["point"] = point;
      }
    }
    // Bytes that were not read this time do not wipe out those that were.
    if (function.size == 0 && comparable) {
      before->second.function.bars = function.bars;
      before->second.space.reset();
      continue;
    }
    if (remembered_.size() >= kRememberedMax && before == remembered_.end()) continue;
    remembered_[key] = {observation.lineage, observation.iteration, function, entry, side.space, side.device_set};
  }
}

void ConfigSpaceDrift::take_virtqueues(const record::Observation& observation) {
  for (const VirtqueueMismatch& trouble : queues_.troubles(observation, source_, destination_)) {
    // One finding for all devices of a type: their queues are made by the same code.
    const std::string what = trouble.device.type.empty() ? trouble.device.key() : trouble.device.type;
    const auto reported = found_.report(observation.iteration, "qemu:" + trouble.origin_side, "virtqueue",
                                        unfolded(trouble.origin_side + ' ' + what));
    constexpr std::size_t kDevicesMax = 16;
    base::Json& devices = reported.finding.evidence["devices"];
    const std::string id = trouble.device.key();
    if (devices.size() < kDevicesMax && std::find(devices.begin(), devices.end(), id) == devices.end()) {
      devices.push_back(id);
    }
    if (!reported.fresh) {
      // A refusal says more than the reading that foretold it.
      if (!trouble.refused || reported.finding.evidence.contains("refused_in_iteration")) continue;
      reported.finding.evidence["refused_in_iteration"] = observation.iteration;
      reported.finding.evidence["refused_lines"] = trouble.evidence["lines"];
      reported.finding.title +=
          fmt::format("; {} refused it in iteration {}", observation.plan.destination_side, observation.iteration);
      found_.touch();
      continue;
    }
    reported.finding.title = trouble.title;
    reported.finding.evidence.update(trouble.evidence);
    if (trouble.refused) reported.finding.evidence["refused_in_iteration"] = observation.iteration;
  }
}

void ConfigSpaceDrift::take_guest_view(const record::Observation& observation) {
  const std::string side = observation.plan.destination_side;
  const SideDocuments guest = documents_.at(observation, "guest");
  for (const GuestViewMismatch& trouble : guest_view_.troubles(observation, source_, guest, compare_)) {
    bool fresh = false;
    record::Finding& finding = file(observation, "qemu:" + side, "guest-view", trouble.device, trouble.device.key(),
                                    trouble.difference.field, fresh);
    if (!fresh) continue;
    finding.title = fmt::format("{}: since iteration {} the guest sees another device on {}: {}",
                                trouble.device.words(), observation.iteration, side, trouble.difference.words);
    finding.evidence.update(trouble.difference.evidence);
    finding.evidence["decoded"] = trouble.difference.words;
  }
}

}  // namespace

std::unique_ptr<Detector> make_config_space_drift(const record::Manifest& manifest) {
  return std::make_unique<ConfigSpaceDrift>(manifest);
}

}  // namespace migsoak::detect
