#include "preflight/preflight.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "base/log.h"
#include "base/text.h"
#include "fleet/inspect.h"
#include "hypervisor/driver.h"
#include "plan/device_plan.h"
#include "preflight/devices.h"
#include "preflight/libvirt.h"
#include "preflight/modes.h"
#include "proc/program.h"
#include "record/known_defects.h"
#include "target/target_kind.h"

namespace migsoak::preflight {

using base::ErrorKind;
using base::fail;
using base::Result;
using plan::pluggable_devices_on;
using scenario::DeviceScenario;
using scenario::Route;
using scenario::Scenario;
using scenario::SideScenario;
using scenario::TargetScenario;
using scenario::TargetShare;

namespace {

constexpr std::chrono::seconds kOneAnswerMax{10};

std::string first_line(const char* file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return base::printable(line);
}

base::Json limits_json() {
  const auto soft = [](auto resource) -> base::Json {
    rlimit limit{};
    if (getrlimit(resource, &limit) != 0) return nullptr;
    if (limit.rlim_cur == RLIM_INFINITY) return "unlimited";
    return static_cast<std::uint64_t>(limit.rlim_cur);
  };
  return {{"nofile", soft(RLIMIT_NOFILE)},
          {"nproc", soft(RLIMIT_NPROC)},
          {"memlock", soft(RLIMIT_MEMLOCK)},
          {"core", soft(RLIMIT_CORE)}};
}

base::Json environment_json(const Preflight& preflight, proc::ContainmentLevel containment) {
  utsname host{};
  uname(&host);
  return {{"host_kernel", std::string(host.release)},
          {"host_arch", std::string(host.machine)},
          {"cores", sysconf(_SC_NPROCESSORS_ONLN)},
          {"memory_bytes", static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE)},
          {"boot_id", first_line("/proc/sys/kernel/random/boot_id")},
          {"accel", preflight.accel},
          {"avoided_defects", preflight.avoided_defects},
          {"guest_kernel", preflight.image.kernel_version},
          {"guest_kernel_package", preflight.image.kernel_package},
          {"guest_image_hash", preflight.image.content_hash},
          {"packages", preflight.packages},
          {"containment", proc::to_string(containment)},
          {"limits", limits_json()}};
}

}  // namespace

namespace {

// The same for both directions.
std::string machine_key(const std::string& machine, const std::string& left, const std::string& right) {
  return fmt::format("{}|{}|{}", machine, std::min(left, right), std::max(left, right));
}

// What the scenario's word for a QEMU means: an entry of the fleet, a path, or a program in PATH.
Result<fleet::Build> find_build(const fleet::Host& host, const std::string& word, const std::string& what) {
  const bool path = word.find('/') != std::string::npos;
  if (!path && word.starts_with("debian:")) {
    // The first time it is downloaded.
    return fleet::resolve(host, word, fleet::WhenMissing::fetch, base::Deadline::in(std::chrono::minutes(10)),
                          [](const std::string& line) { fmt::print(stderr, "{}\n", line); });
  }
  if (!path) {
    MIGSOAK_ASSIGN(const std::optional<fleet::Build> entry, fleet::find(word), what);
    if (entry) return *entry;
  }
  fleet::Build build;
  build.binary = word;
  return build;
}

// What can't be asked for its machine types is taken to have this one.
Result<void> check_machine_type(const fleet::Host& host, const fleet::Build& build, const std::string& version,
                                const std::string& machine) {
  const std::string type = machine.substr(0, machine.find(','));
  MIGSOAK_ASSIGN(const std::vector<std::string> known,
                 fleet::machine_names(host, build, base::Deadline::in(kOneAnswerMax)));
  if (known.empty() || std::find(known.begin(), known.end(), type) != known.end()) return {};
  const std::string near = base::nearest_name(type, known);
  return fail(ErrorKind::bad_input,
              fmt::format("QEMU {} has no machine type '{}'{}", version, base::printable(type),
                          near.empty() ? fmt::format("; `{} -machine help` lists them", build.binary)
                                       : fmt::format(", did you mean '{}'?", near)));
}

// One machine type for the builds of these sides. Builds of one version agree on any.
Result<std::string> common_machine(const fleet::Host& host, Preflight& preflight,
                                   const std::vector<const SideScenario*>& sides, const std::string& machine) {
  std::set<std::string> versions;
  for (const SideScenario* side : sides) versions.insert(preflight.qemu.at(side->qemu).version);
  if (versions.size() < 2) return machine;
  std::vector<fleet::Build> builds;
  for (const SideScenario* side : sides) {
    fleet::Build& build = preflight.builds.at(side->qemu);
    if (build.machines.empty()) {
      const fleet::LocalBuild local{side->name, build.binary, build.args, build.env};
      MIGSOAK_ASSIGN(build, fleet::inspect_build(host, local, base::Deadline::in(std::chrono::seconds(20))));
    }
    builds.push_back(build);
  }
  return fleet::choose_machine(builds, machine);
}

Result<void> choose_machines(const fleet::Host& host, const Scenario& scenario, Preflight& preflight) {
  const std::string what = scenario.file + ": guest.machine";
  for (const std::string& machine : scenario.guest.machines) {
    if (scenario.route != Route::pairs) {
      std::vector<const SideScenario*> all;
      for (const SideScenario& side : scenario.sides) all.push_back(&side);
      MIGSOAK_ASSIGN(preflight.machines[machine_key(machine, "", "")], common_machine(host, preflight, all, machine),
                     what);
      continue;
    }
    for (const SideScenario& left : scenario.sides) {
      for (const SideScenario& right : scenario.sides) {
        if (left.name >= right.name) continue;
        MIGSOAK_ASSIGN(preflight.machines[machine_key(machine, left.name, right.name)],
                       common_machine(host, preflight, {&left, &right}, machine), what);
      }
    }
  }
  return {};
}

// What a driver needs besides QEMU; and a machine that it has words for, which shows only when it is described.
Result<void> check_driver(proc::Reactor& reactor, proc::Containment& containment, const Scenario& scenario,
                          Preflight& preflight) {
  const hypervisor::DriverKind& driver = *hypervisor::find_driver_kind(scenario.driver());
  if (driver.find_daemon == nullptr) return {};
  MIGSOAK_ASSIGN(preflight.packages[driver.name],
                 driver.find_daemon(reactor, containment, base::Deadline::in(std::chrono::seconds(10))),
                 scenario.file + ": side.driver");
  for (const SideScenario& side : scenario.sides) {
    if (preflight.builds.at(side.qemu).args.empty() && preflight.builds.at(side.qemu).env.empty()) continue;
    return fail(ErrorKind::bad_input,
                fmt::format("{}: side.{}.qemu: '{}' is of the fleet, and driver \"{}\" runs the system's builds only",
                            scenario.file, side.name, side.qemu, driver.name));
  }
  if (driver.name == "libvirt") return check_libvirt_ways(reactor, containment, scenario, preflight);
  return {};
}

void avoid_known_defects(const Scenario& scenario, Preflight& preflight) {
  for (const record::KnownDefect& defect : record::known_defects()) {
    const bool met = std::any_of(preflight.qemu.begin(), preflight.qemu.end(), [&](const auto& qemu) {
      return record::has_defect(defect, qemu.second.version, preflight.accel);
    });
    if (!met || !defect.avoided_by_odd_ram) continue;
    if (!hypervisor::find_driver_kind(scenario.driver())->takes_odd_ram) {
      spdlog::warn("{} can't be kept away: driver \"{}\" rounds guest RAM ({})", defect.name, scenario.driver(),
                   defect.reference);
      continue;
    }
    // A DIMM is a multiple of 256 KiB, whatever the guest's other RAM is: then only less likely, and not avoided.
    if (!scenario.hotplug.uses("memory")) preflight.avoided_defects.push_back(defect.name);
    preflight.memory_extra_bytes = hypervisor::kOddMemoryBytes;
    spdlog::info("guest RAM is {} KiB larger than asked for: that keeps {} away ({})",
                 preflight.memory_extra_bytes / 1024, defect.name, defect.reference);
  }
}

}  // namespace

std::string Preflight::machine_for(const record::Plan& plan) const {
  const auto own = machines.find(machine_key(plan.machine, plan.source_side, plan.destination_side));
  if (own != machines.end()) return own->second;
  const auto all = machines.find(machine_key(plan.machine, "", ""));
  return all != machines.end() ? all->second : plan.machine;
}

Result<Preflight> run_preflight(proc::Reactor& reactor, proc::Containment& containment, const Scenario& scenario,
                                const std::string& run_dir) {
  Preflight preflight;
  const fleet::Host host{reactor, containment};
  MIGSOAK_ASSIGN(preflight.image, guest::locate_image());
  for (const SideScenario& side : scenario.sides) {
    if (preflight.qemu.contains(side.qemu)) continue;
    const std::string what = fmt::format("{}: side.{}.qemu", scenario.file, side.name);
    MIGSOAK_ASSIGN(fleet::Build build, find_build(host, side.qemu, what));
    MIGSOAK_ASSIGN(auto identity, fleet::identify(host, build.binary, base::Deadline::in(std::chrono::seconds(15))),
                   what);
    build.binary = identity.path;
    if (!build.package_version.empty()) identity.package = "qemu-system-x86 " + build.package_version;
    for (const std::string& machine : scenario.guest.machines) {
      MIGSOAK_TRY(check_machine_type(host, build, identity.version, machine),
                  fmt::format("{}: guest.machine on side {}", scenario.file, side.name));
    }
    preflight.builds.emplace(side.qemu, std::move(build));
    preflight.packages[side.qemu] = identity.package;
    preflight.qemu.emplace(side.qemu, std::move(identity));
  }
  MIGSOAK_TRY(check_driver(reactor, containment, scenario, preflight));
  MIGSOAK_TRY(check_modes(scenario, preflight));
  MIGSOAK_TRY(choose_machines(host, scenario, preflight));
  MIGSOAK_TRY(check_devices(host, scenario, preflight.qemu, preflight.builds));
  for (const TargetScenario& target : scenario.targets) {
    const std::string program = target::program_of(target);
    MIGSOAK_ASSIGN(const std::string path, proc::find_program(program),
                   fmt::format("{}: target.{}.{}", scenario.file, target.name, target.program_key));
    preflight.packages[program] = fleet::package_of(host, path, base::Deadline::in(kOneAnswerMax));
  }
  hypervisor::MachineSpec probe;
  probe.side = scenario.sides.front().name;
  const fleet::Identity& first_identity = preflight.qemu.at(scenario.sides.front().qemu);
  probe.qemu = first_identity.path;
  const fleet::Build& first = preflight.builds.at(scenario.sides.front().qemu);
  probe.qemu_args = first.args;
  probe.env = first.env;
  probe.machine = scenario.guest.machines.front();
  probe.memory_bytes = scenario.guest.memory_bytes;
  probe.cpus = scenario.guest.cpus;
  probe.image = preflight.image;
  probe.run_dir = run_dir;
  probe.instance = "accel";
  MIGSOAK_ASSIGN(preflight.accel,
                 hypervisor::resolve_accel(reactor, containment, scenario.guest.accel, probe, first_identity.full,
                                           base::Deadline::in(std::chrono::seconds(30))));
  if (scenario.guest.avoid_known_defects) avoid_known_defects(scenario, preflight);
  return preflight;
}

record::Manifest make_manifest(const Scenario& scenario, const Preflight& preflight, const std::string& run_id,
                               proc::ContainmentLevel containment) {
  record::Manifest manifest;
  manifest.run = run_id;
  manifest.scenario = scenario.name;
  manifest.scenario_text = scenario.text;
  manifest.scenario_dir = scenario.directory;
  manifest.seed = scenario.seed;
  manifest.iterations_planned = scenario.iterations;
  manifest.started_unix_ms = base::unix_time_ms();
  manifest.migsoak_version = MIGSOAK_VERSION;
  manifest.gate = scenario.gate;
  for (const SideScenario& side : scenario.sides) {
    manifest.sides.push_back({side.name, side.qemu, preflight.qemu.at(side.qemu).version});
  }
  for (const TargetScenario& target : scenario.targets) {
    const auto nofile = static_cast<std::int64_t>(target.nofile.value_or(0));
    record::TargetInfo info{target.name, target.kind, std::string(to_string(target.share)), nofile, {}};
    for (const DeviceScenario& device : scenario.devices) {
      if (device.target == target.name) info.devices.push_back({device.id, device.type, device.queues()});
    }
    for (const hypervisor::DeviceSpec& disk : pluggable_devices_on(scenario, target.name)) {
      info.devices.push_back({disk.id, disk.type, 1});
    }
    manifest.targets.push_back(std::move(info));
  }
  manifest.environment = environment_json(preflight, containment);
  return manifest;
}

}  // namespace migsoak::preflight
