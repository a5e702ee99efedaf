// The catalogue of target kinds, expanded from targets.def, and what is checked of every spec.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "proc/run_dir.h"
#include "target/process_target.h"

namespace migsoak::target {

using base::ErrorKind;
using base::Result;

#define TARGET(function) TargetKind target_kind_##function();
#include "target/targets.def"
#undef TARGET

const std::vector<TargetKind>& target_kinds() {
  static const std::vector<TargetKind> kinds = {
#define TARGET(function) target_kind_##function(),
#include "target/targets.def"
#undef TARGET
  };
  return kinds;
}

const TargetKind* find_target_kind(const std::string& name) {
  for (const TargetKind& kind : target_kinds()) {
    if (kind.name == name) return &kind;
  }
  return nullptr;
}

bool serves(const TargetKind& kind, EndpointType type) {
  return std::find(kind.serves.begin(), kind.serves.end(), type) != kind.serves.end();
}

std::string program_of(const TargetSettings& settings) {
  if (!settings.binary.empty()) return settings.binary;
  const TargetKind* kind = find_target_kind(settings.kind);
  if (kind == nullptr || !kind->program.empty()) return kind != nullptr ? kind->program : "";
  for (const OptionSpec& option : kind->options) {
    const auto given = settings.options.find(option.name);
    const bool words = given != settings.options.end() && given->second.is_array() && !given->second.empty();
    if (option.type == OptionType::command && words) return given->second.front().get<std::string>();
  }
  return "";
}

std::string endpoint_key(const std::string& device, const std::string& slot) {
  return device + "." + slot;
}

Result<std::string> socket_path(const TargetSpec& spec, const std::string& suffix) {
  constexpr std::string_view prefix = "target:";
  std::string name = spec.process.rfind(prefix, 0) == 0 ? spec.process.substr(prefix.size()) : spec.name;
  std::string file = name + suffix;
  for (char& c : file) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-_.@").find(c) != std::string_view::npos;
    if (!plain) c = '_';
  }
  const std::string path = spec.run_dir + "/" + file;
  MIGSOAK_TRY(proc::check_socket_path(path));
  return path;
}

namespace {

Result<void> check_devices(const TargetKind& kind, const TargetSpec& spec) {
  if (spec.slots.empty()) return base::fail(ErrorKind::bad_input, "no slot for a QEMU");
  if (spec.devices.empty()) return base::fail(ErrorKind::bad_input, "no device to serve");
  if (kind.devices_max != 0 && spec.devices.size() > kind.devices_max) {
    return base::fail(ErrorKind::bad_input,
                      fmt::format("kind \"{}\" serves {} device{}, and not {}", kind.name, kind.devices_max,
                                  kind.devices_max == 1 ? "" : "s", spec.devices.size()));
  }
  for (const ServedDevice& device : spec.devices) {
    if (serves(kind, device.type)) continue;
    return base::fail(ErrorKind::bad_input, fmt::format("kind \"{}\" has no {} endpoint for device '{}'", kind.name,
                                                        to_string(device.type), device.id));
  }
  return {};
}

Result<Plan> plan_of_kind(const TargetKind& kind, const TargetSpec& spec) {
  auto options = check_options(kind.name, kind.options, spec.options);
  if (!options) {
    return base::fail(ErrorKind::bad_input, fmt::format("option '{}': {}", base::printable(options.error().option, 60),
                                                        options.error().what));
  }
  MIGSOAK_TRY(check_devices(kind, spec));
  MIGSOAK_ASSIGN(Layout layout, kind.lay_out(spec, *options));
  for (const ServedDevice& device : spec.devices) {
    for (const std::string& slot : spec.slots) {
      assert(layout.endpoints.contains(endpoint_key(device.id, slot)) && "a kind forgot an endpoint");
    }
  }
  return Plan{std::move(*options), std::move(layout)};
}

Result<Plan> plan_of(const TargetKind& kind, const TargetSpec& spec) {
  auto plan = plan_of_kind(kind, spec);
  if (!plan) return tl::unexpected(std::move(plan.error()).with_context("target '" + spec.name + "'"));
  return plan;
}

Result<const TargetKind*> kind_of(const TargetSpec& spec) {
  if (const TargetKind* kind = find_target_kind(spec.kind)) return kind;
  std::vector<std::string> names;
  for (const TargetKind& known : target_kinds()) names.push_back(known.name);
  const std::string nearest = base::nearest_name(spec.kind, names);
  return base::fail(ErrorKind::bad_input,
                    fmt::format("target '{}': unknown kind '{}'{}", spec.name, base::printable(spec.kind, 60),
                                nearest.empty() ? "" : fmt::format(" (did you mean '{}'?)", nearest)));
}

}  // namespace

Result<std::vector<std::string>> command_line(const TargetSpec& spec) {
  MIGSOAK_ASSIGN(const TargetKind* kind, kind_of(spec));
  MIGSOAK_ASSIGN(const Plan plan, plan_of(*kind, spec));
  std::vector<std::string> argv = spec.wrapper;
  argv.insert(argv.end(), plan.layout.argv.begin(), plan.layout.argv.end());
  return argv;
}

Result<Endpoint> endpoint_of(const TargetSpec& spec, const std::string& device, const std::string& slot) {
  MIGSOAK_ASSIGN(const TargetKind* kind, kind_of(spec));
  MIGSOAK_ASSIGN(const Plan plan, plan_of(*kind, spec));
  const auto it = plan.layout.endpoints.find(endpoint_key(device, slot));
  assert(it != plan.layout.endpoints.end() && "a device or slot that the spec does not have");
  return it->second;
}

Result<void> check_target(const TargetSpec& spec) {
  const auto argv = command_line(spec);
  if (argv || argv.error().kind != ErrorKind::bad_input) return {};
  return tl::unexpected(argv.error());
}

Result<std::unique_ptr<Target>> start_target(proc::Reactor& reactor, proc::Containment& containment,
                                             const TargetKind& kind, TargetSpec spec) {
  for (const ServedDevice& device : spec.devices) {
    struct stat image {};
    if (device.image.empty() && kind.null_disks) continue;
    if (device.type != EndpointType::block || ::stat(device.image.c_str(), &image) == 0) continue;
    const int error = errno;
    return base::fail(ErrorKind::bad_input, fmt::format("target '{}': image {}: {}", spec.name,
                                                        base::printable(device.image), strerror(error)));
  }
  MIGSOAK_ASSIGN(Plan plan, plan_of(kind, spec));
  const std::string name = spec.name;
  auto target = ProcessTarget::start(reactor, containment, kind, std::move(spec), std::move(plan));
  if (!target) return tl::unexpected(std::move(target.error()).with_context("target '" + name + "'"));
  return target;
}

Result<std::unique_ptr<Target>> start_target(proc::Reactor& reactor, proc::Containment& containment, TargetSpec spec) {
  MIGSOAK_ASSIGN(const TargetKind* kind, kind_of(spec));
  return start_target(reactor, containment, *kind, std::move(spec));
}

}  // namespace migsoak::target
