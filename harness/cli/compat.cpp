#include "compat/survey.h"

#include <fmt/format.h>

#include <memory>

#include "base/text.h"
#include "cli/commands.h"
#include "proc/run_dir.h"

namespace migsoak::cli {

namespace {

constexpr int kExitInterrupted = 130;
constexpr auto kSurveyMax = std::chrono::minutes(10);

struct CompatArguments {
  std::string from, to, machine, placement = "root";
  std::vector<std::string> devices, devices_from, devices_to;
  bool both = false;
  bool json = false;
};

base::Result<std::vector<compat::DevicePair>> compat_devices(const CompatArguments& arguments) {
  std::vector<compat::DevicePair> devices;
  for (const std::string& text : arguments.devices) {
    MIGSOAK_ASSIGN(auto device, compat::parse_device(text), "--device");
    devices.push_back(std::move(device));
  }
  const std::size_t from = arguments.devices_from.size(), to = arguments.devices_to.size();
  if (from != to) {
    return base::fail(base::ErrorKind::bad_input,
                      fmt::format("--device-from and --device-to pair up in order; there are {} and {}", from, to));
  }
  for (std::size_t i = 0; i < from; ++i) {
    MIGSOAK_ASSIGN(auto device, compat::parse_device_pair(arguments.devices_from[i], arguments.devices_to[i]));
    devices.push_back(std::move(device));
  }
  return devices;
}

// The newest machine type of the family that both know; without --machine pc, or q35 where the placement needs it.
base::Result<std::string> compat_machine(const CompatArguments& arguments, const compat::BuildPair& builds) {
  const std::string wanted = !arguments.machine.empty()                         ? arguments.machine
                             : builds.placement == compat::Placement::root_port ? "q35"
                                                                                : "pc";
  return fleet::choose_machine({builds.from, builds.to}, wanted);
}

base::Result<compat::SurveyReport> run_compat(const CompatArguments& arguments, Session& session) {
  const auto deadline = base::Deadline::in(kSurveyMax);
  compat::SurveyRequest request;
  request.both_directions = arguments.both;
  MIGSOAK_ASSIGN(request.builds.placement, compat::parse_placement(arguments.placement), "--placement");
  MIGSOAK_ASSIGN(request.devices, compat_devices(arguments));
  proc::RunDir::remove_leftovers();
  MIGSOAK_ASSIGN(const auto run_dir, proc::RunDir::create("compat"));
  MIGSOAK_ASSIGN(const auto containment, proc::Containment::start({"compat", run_dir->path(), ""}));
  {
    proc::Reactor reactor(&session.stop);
    const fleet::Host host{reactor, *containment};
    MIGSOAK_ASSIGN(request.builds.from, fleet::resolve(host, arguments.from, fleet::WhenMissing::refuse, deadline),
                   "--from");
    if (arguments.to == arguments.from) {
      request.builds.to = request.builds.from;
    } else {
      MIGSOAK_ASSIGN(request.builds.to, fleet::resolve(host, arguments.to, fleet::WhenMissing::refuse, deadline),
                     "--to");
    }
  }
  MIGSOAK_ASSIGN(request.builds.machine, compat_machine(arguments, request.builds), "--machine");
  return compat::survey({*containment, run_dir->path(), &session.stop}, request, deadline);
}

int exit_status_of(compat::Compatibility worst) {
  return worst == compat::Compatibility::incompatible ? kExitFindings
         : worst == compat::Compatibility::unknown    ? kExitUnknown
                                                      : kExitPass;
}

}  // namespace

void add_compat(CLI::App& app, Session& session) {
  auto arguments = std::make_shared<CompatArguments>();
  CLI::App* command = app.add_subcommand(
      "compat", "Do two QEMU builds load each other's devices? Asked of paused throwaway VMs, without a guest");
  command->add_option("--from", arguments->from, "QEMU of the source: a path or a fleet name")->required();
  command->add_option("--to", arguments->to, "QEMU of the destination")->required();
  command->add_option("--machine", arguments->machine,
                      "pc, q35 (the newest version that both know), or a versioned type [pc]");
  command->add_option("--device", arguments->devices, "DRIVER[,property=value...], again for more; none: every type")
      ->allow_extra_args(false);
  command->add_option("--device-from", arguments->devices_from, "DRIVER[,property=value...] on the source")
      ->allow_extra_args(false);
  command->add_option("--device-to", arguments->devices_to, "the same on the destination; pairs up in order")
      ->allow_extra_args(false);
  command->add_option("--placement", arguments->placement, "root, root-port (q35) or bridge [root]");
  command->add_flag("--both", arguments->both, "The other direction, too");
  command->add_flag("--json", arguments->json, "One JSON object");
  command->callback([arguments, &session] {
    const auto report = run_compat(*arguments, session);
    if (!report) {
      session.exit_status = report.error().kind == base::ErrorKind::interrupted
                                ? (complain(report.error()), kExitInterrupted)
                                : complain(report.error());
      return;
    }
    print(arguments->json ? to_json(*report).dump(2, ' ', false, base::Json::error_handler_t::replace)
                          : to_text(*report));
    session.exit_status = exit_status_of(report->worst());
  });
}

}  // namespace migsoak::cli
