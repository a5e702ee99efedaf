#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include <memory>

#include "base/json.h"
#include "base/text.h"
#include "cli/commands.h"
#include "fleet/fleet.h"
#include "fleet/inspect.h"
#include "guest/image.h"
#include "hypervisor/driver.h"
#include "hypervisor/machine.h"
#include "proc/program.h"
#include "proc/run_dir.h"
#include "record/known_defects.h"

namespace migsoak::cli {

namespace {

struct Check {
  std::string name;
  bool good = false;
  bool needed = true;  // a run can't do without it
  std::string found;
  std::string fix;         // a command or a sentence; empty when good
  std::string known = {};  // of a QEMU build: defects that lose guests
};

Check program(const std::string& name, const std::string& package, bool needed, const std::string& what_for) {
  Check check{name, proc::find_program(name).has_value(), needed, "", ""};
  check.found = check.good ? "in PATH: " + what_for : "not in PATH: " + what_for;
  if (!check.good) check.fix = "apt-get install " + package;
  return check;
}

// A QEMU build that works and has a known defect is good all the same: whoever meets it should know.
std::string known_defects_of(const std::string& qemu_version) {
  std::vector<std::string> known;
  for (const record::KnownDefect& defect : record::known_defects()) {
    if (record::has_defect(defect, qemu_version, defect.accel)) known.push_back(record::describe(defect));
  }
  return base::join(known, "; ");
}

Check guest_image() {
  const auto image = guest::locate_image();
  Check check{"guest image", image.has_value(), true, "", ""};
  check.found = image ? image->kernel_version : image.error().describe();
  if (!image) check.fix = "harness/setup.sh";
  return check;
}

// QEMU and containment, for real: a QEMU is started inside it.
std::vector<Check> live_checks() {
  std::vector<Check> checks;
  const auto run_dir = proc::RunDir::create("doctor");
  if (!run_dir)
    return {{"run directory", false, true, run_dir.error().describe(), "make /tmp writable or set MIGSOAK_RUN_BASE"}};
  const auto containment = proc::Containment::start({"doctor", (*run_dir)->path(), ""});
  if (!containment)
    return {{"containment", false, true, containment.error().describe(), "run as root, or ask why fork fails"}};
  const bool namespaced = (*containment)->level() == proc::ContainmentLevel::pid_namespace;
  checks.push_back({"containment", namespaced, false,
                    namespaced ? "PID namespace: nothing outlives a killed run"
                               : "marker only: what clears its environment and double-forks may outlive a killed run",
                    namespaced ? "" : "run as root (CAP_SYS_ADMIN)"});
  proc::Reactor reactor;
  const auto qemu =
      fleet::identify({reactor, **containment}, "qemu-system-x86_64", base::Deadline::in(std::chrono::seconds(15)));
  checks.push_back(
      {"qemu-system-x86_64", qemu.has_value(), true,
       qemu ? qemu->full + (qemu->package.empty() ? "" : " (" + qemu->package + ")") : qemu.error().describe(),
       qemu ? "" : "apt-get install qemu-system-x86", qemu ? known_defects_of(qemu->version) : ""});
  for (const hypervisor::DriverKind& driver : hypervisor::driver_kinds()) {
    if (driver.find_daemon == nullptr) continue;
    const auto daemon = driver.find_daemon(reactor, **containment, base::Deadline::in(std::chrono::seconds(10)));
    checks.push_back({"driver " + driver.name, daemon.has_value(), false, daemon ? *daemon : daemon.error().message,
                      daemon ? "" : "apt-get install libvirt-daemon, or do what the line says"});
  }
  const auto image = guest::locate_image();
  if (qemu && image) {
    hypervisor::MachineSpec probe;
    probe.side = "doctor";
    probe.qemu = qemu->path;
    probe.image = *image;
    probe.run_dir = (*run_dir)->path();
    probe.instance = "accel";
    const auto accel = hypervisor::resolve_accel(reactor, **containment, "auto", probe, qemu->full,
                                                 base::Deadline::in(std::chrono::seconds(30)));
    const bool kvm = accel && *accel == "kvm";
    checks.push_back({"accelerator", kvm, false,
                      kvm ? "kvm: a guest came up on it" : "tcg: no guest came up on KVM (slower, otherwise the same)",
                      kvm ? "" : "enable (nested) virtualization on this host"});
  }
  return checks;
}

// One line a build; an empty fleet is no trouble, only fewer scenarios.
std::vector<Check> fleet_checks() {
  std::vector<Check> checks;
  std::vector<std::string> troubles;
  const auto builds = fleet::builds(&troubles);
  if (!builds) return {{"fleet", false, false, builds.error().describe(), "make the folder readable"}};
  for (const fleet::Build& build : *builds) {
    checks.push_back({build.name, true, false,
                      fmt::format("QEMU {}, {}", build.version,
                                  build.suite.empty() ? build.binary : build.suite + " " + build.package_version),
                      "", known_defects_of(build.version)});
  }
  for (const std::string& trouble : troubles) checks.push_back({"fleet", false, false, trouble, ""});
  if (checks.empty())
    checks.push_back({"fleet", false, false, "no other QEMU builds", "migsoak fleet add debian:trixie"});
  return checks;
}

std::vector<Check> all_checks() {
  std::vector<Check> checks = live_checks();
  checks.push_back(program("qemu-storage-daemon", "qemu-system-common", true, "the vhost-user target"));
  checks.push_back(guest_image());
  checks.push_back(program("patchelf", "patchelf", false, "fetching other QEMU builds (migsoak fleet add)"));
  for (Check& check : fleet_checks()) checks.push_back(std::move(check));
  checks.push_back(program("eu-stack", "elfutils", false, "user stacks in the evidence of a hang"));
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  checks.push_back({"RLIMIT_NOFILE", limit.rlim_cur >= 256, true, fmt::format("{}", limit.rlim_cur),
                    limit.rlim_cur >= 256 ? "" : "ulimit -n 1024"});
  struct statvfs disk {};
  const bool known = statvfs("/tmp", &disk) == 0;
  const std::uint64_t free_mib = known ? disk.f_bavail * disk.f_frsize >> 20 : 0;
  checks.push_back({"space in /tmp", free_mib >= 1024, true, fmt::format("{} MiB", free_mib),
                    free_mib >= 1024 ? "" : "free some space: disk images of the guests lie there"});
  return checks;
}

}  // namespace

void add_doctor(CLI::App& app, Session& session) {
  auto json_output = std::make_shared<bool>(false);
  CLI::App* command =
      app.add_subcommand("doctor", "What this machine can run, what is missing, the command that fixes it");
  command->add_flag("--json", *json_output, "One JSON object");
  command->callback([json_output, &session] {
    bool good = true;
    base::Json rows = base::Json::array();
    for (const Check& check : all_checks()) {
      good = good && (check.good || !check.needed);
      rows.push_back({{"check", check.name},
                      {"good", check.good},
                      {"needed", check.needed},
                      {"found", check.found},
                      {"fix", check.fix},
                      {"mend", check.fix},  // its name of before; goes with the next version
                      {"known", check.known}});
      if (*json_output) continue;
      const std::string indent = "\n" + std::string(30, ' ');
      print(fmt::format("{:<8} {:<20} {}{}{}",
                        check.good     ? "good"
                        : check.needed ? "MISSING"
                                       : "limited",
                        check.name, base::printable(check.found), check.fix.empty() ? "" : indent + "fix: " + check.fix,
                        check.known.empty() ? "" : indent + check.known));
    }
    if (*json_output)
      print(base::Json{{"good", good}, {"checks", rows}}.dump(2, ' ', false, base::Json::error_handler_t::replace));
    session.exit_status = good ? kExitPass : kExitUnknown;
  });
}

}  // namespace migsoak::cli
