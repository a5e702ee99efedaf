#include "detect/links.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "detect/quiet_point.h"

namespace migsoak::detect {

namespace {

constexpr double kNearShare = 0.10;
constexpr double kNearIterations = 3;

bool can_be_a_collapse(const record::Finding& finding) {
  for (const std::string_view name :
       {"crash", "hang", "migration-failure", "log-signature", "disk-corruption", "guest-corruption"}) {
    if (finding.detector == name) return true;
  }
  return false;
}

// A target that runs dry hurts whoever it serves.
bool can_hurt(const record::Finding& leak, const record::Finding& hurt) {
  if (leak.process == hurt.process) return true;
  if (hurt.process == "guest") return leak.process != "harness";
  return starts_with(leak.process, "target:") && is_qemu(hurt.process);
}

// The prediction that the collapse at `iteration` bears out, of any life of the leaking process.
bool foretold(const record::Finding& leak, std::int64_t iteration) {
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

void link_collapses(std::vector<record::Finding>& findings) {
  for (record::Finding& hurt : findings) {
    if (!can_be_a_collapse(hurt) || !hurt.first_iteration) continue;
    // One event may show in a later occurrence only; the iterations listed are looked through, the first hit counts.
    std::vector<std::int64_t> iterations{*hurt.first_iteration};
    for (const base::Json& listed : base::json_get(hurt.evidence, "iterations", base::Json::array())) {
      if (listed.is_number_integer()) iterations.push_back(listed.get<std::int64_t>());
    }
    record::Finding* cause = nullptr;
    std::int64_t at = 0;
    for (record::Finding& leak : findings) {
      if (leak.detector != "fd-leak" || !can_hurt(leak, hurt)) continue;
      const auto hit = std::find_if(iterations.begin(), iterations.end(),
                                    [&](std::int64_t iteration) { return foretold(leak, iteration); });
      if (hit == iterations.end()) continue;
      leak.evidence["collapsed_at_iteration"] =
          std::min(*hit, base::json_get<std::int64_t>(leak.evidence, "collapsed_at_iteration", *hit));
      // The fastest kind stands for all of its process.
      const bool better = cause == nullptr || (leak.process == hurt.process && cause->process != hurt.process) ||
                          (leak.process == cause->process && leak.rate_per_iteration > cause->rate_per_iteration);
      if (better) {
        cause = &leak;
        at = *hit;
      }
    }
    if (cause == nullptr) continue;
    hurt.evidence["cause"] = {
        {"detector", cause->detector}, {"fingerprint", cause->fingerprint}, {"title", cause->title}, {"iteration", at}};
    hurt.title += fmt::format(" (foretold by fd-leak of {}, proven in iteration {})", cause->process,
                              cause->detected_iteration.value_or(0));
  }
}

namespace {

bool explains(const record::Finding& drift, const record::Finding& failure) {
  const auto text = [](const record::Finding& finding, const char* key) {
    return base::json_get<std::string>(finding.evidence, key, "");
  };
  if (drift.detector != "config-space-drift") return false;
  if (failure.kind == "config-space") {
    if (drift.kind != "refused" || text(drift, "from") != text(failure, "from") ||
        text(drift, "to") != text(failure, "to")) {
      return false;
    }
    const std::string device = text(failure, "device");
    return device.empty() || device == text(drift, "path") + "/" + text(drift, "section");
  }
  return failure.kind == "virtqueue-size" && drift.kind == "virtqueue" &&
         drift.evidence.contains("refused_in_iteration");
}

}  // namespace

void link_config_space(std::vector<record::Finding>& findings) {
  for (record::Finding& failure : findings) {
    if (failure.detector != "migration-failure") continue;
    const auto cause =
        std::find_if(findings.begin(), findings.end(), [&](const auto& drift) { return explains(drift, failure); });
    if (cause == findings.end()) continue;
    failure.evidence["cause"] = {{"detector", cause->detector},
                                 {"fingerprint", cause->fingerprint},
                                 {"title", cause->title},
                                 {"iteration", cause->first_iteration.value_or(0)}};
    failure.evidence["device_id"] = base::json_get<std::string>(cause->evidence, "device", "");
    failure.title += fmt::format(" (explained by config-space-drift of {})",
                                 base::json_get<std::string>(cause->evidence, "device", ""));
  }
}

namespace {

std::string text_of(const base::Json& json, const char* key) {
  return base::json_get<std::string>(json, key, "");
}

bool struck_in(const record::Finding& finding, std::int64_t iteration) {
  for (const base::Json& listed : base::json_get(finding.evidence, "iterations", base::Json::array())) {
    if (listed.is_number_integer() && listed.get<std::int64_t>() == iteration) return true;
  }
  return false;
}

// `name`: as QEMU's stream has it, "0000:00:02.0/1/usb-hub", "0000:00:02.0/vga.vram", "serial".
bool is_device(const record::Finding& drift, const std::string& name) {
  const std::size_t slash = name.rfind('/');
  if (name.substr(slash == std::string::npos ? 0 : slash + 1) == text_of(drift.evidence, "type")) return true;
  for (const char* key : {"pci_address", "path"}) {
    const std::string address = text_of(drift.evidence, key);
    if (!address.empty() && name.rfind(address + '/', 0) == 0) return true;
  }
  return false;
}

// Told before the load, of the pair and the iteration in which the migration failed first.
bool precedes(const record::Finding& drift, const record::Finding& failure) {
  const bool of_tree = base::json_get<bool>(drift.evidence, "before_load", false) || drift.evidence.contains("pci_id");
  return drift.detector == "qtree-drift" && of_tree && failure.first_iteration &&
         struck_in(drift, *failure.first_iteration) &&
         text_of(drift.evidence, "from") == text_of(failure.evidence, "from") &&
         text_of(drift.evidence, "to") == text_of(failure.evidence, "to");
}

const record::Finding* device_behind(const std::vector<record::Finding>& findings, const record::Finding& failure) {
  std::string name = text_of(failure.evidence, "device");
  if (name.empty()) {
    name = text_of(base::json_get(failure.evidence, "fields", base::Json::object()), "block");
  }
  const record::Finding* only = nullptr;
  std::size_t count = 0;
  for (const record::Finding& drift : findings) {
    if (!precedes(drift, failure)) continue;
    if (!name.empty() && is_device(drift, name)) return &drift;
    only = &drift;
    ++count;
  }
  // An error that names no device, and only one thing that it can be about.
  return name.empty() && failure.kind == "vmstate" && count == 1 ? only : nullptr;
}

}  // namespace

void link_device_trees(std::vector<record::Finding>& findings) {
  for (record::Finding& failure : findings) {
    if (failure.detector != "migration-failure" || failure.evidence.contains("cause")) continue;
    const record::Finding* cause = device_behind(findings, failure);
    if (cause == nullptr) continue;
    failure.evidence["cause"] = {{"detector", cause->detector},
                                 {"fingerprint", cause->fingerprint},
                                 {"title", cause->title},
                                 {"iteration", cause->first_iteration.value_or(0)}};
    const std::string id = text_of(cause->evidence, "device");
    const std::string type = text_of(cause->evidence, "type");
    failure.title += fmt::format(" (explained by qtree-drift: {} {}{})", cause->kind, type,
                                 id.empty() || id == type ? "" : " " + id);
  }
}

}  // namespace migsoak::detect
