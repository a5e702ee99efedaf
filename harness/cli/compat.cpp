#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "base/text.h"
#include "cli/commands.h"
#include "compat/survey.h"
#include "compat/survey_record.h"
#include "engine/recorder.h"
#include "proc/run_dir.h"

namespace migsoak::cli {

namespace {

constexpr int kExitInterrupted = 130;
constexpr auto kSurveyMax = std::chrono::minutes(10);

struct CompatArguments {
  std::string from, to, machine, placement = "root";
  std::string db;
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

std::string command_of(const CompatArguments& arguments) {
  std::vector<std::string> words{"migsoak", "compat", "--from", arguments.from, "--to", arguments.to};
  if (!arguments.machine.empty()) words.insert(words.end(), {"--machine", arguments.machine});
  for (const std::string& device : arguments.devices) words.insert(words.end(), {"--device", device});
  for (const std::string& device : arguments.devices_from) words.insert(words.end(), {"--device-from", device});
  for (const std::string& device : arguments.devices_to) words.insert(words.end(), {"--device-to", device});
  words.insert(words.end(), {"--placement", arguments.placement});
  if (arguments.both) words.emplace_back("--both");
  for (std::string& word : words) word = base::shell_quote(word);
  return base::join(words, " ");
}

// The survey as a run's database, judged as one.
base::Result<void> record_survey(const CompatArguments& arguments, const compat::SurveyReport& report) {
  const auto now = base::unix_time_ms();
  record::Manifest manifest = compat::manifest_of(report, command_of(arguments), now);
  manifest.migsoak_version = MIGSOAK_VERSION;
  MIGSOAK_ASSIGN(const auto store, store::Store::create(arguments.db, manifest));
  engine::Recorder recorder(*store);
  record::RunEnd end;
  end.planned = manifest.planned_count();
  for (const record::Observation& observation : compat::observations_of(report, now)) {
    MIGSOAK_TRY(recorder.begin(observation));
    MIGSOAK_TRY(recorder.finish(observation));
    ++end.finished;
  }
  end.reason = record::end_reason::kFinished;
  return recorder.end(end);
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
  command->add_option("--db", arguments->db, "Also a database of it, a new one, for findings, report and queries");
  command->callback([arguments, &session] {
    std::error_code ignored;
    if (!arguments->db.empty() && std::filesystem::exists(arguments->db, ignored)) {
      session.exit_status = complain(
          {base::ErrorKind::bad_input, base::printable(arguments->db) + ": exists already; name another --db", {}});
      return;
    }
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
    if (arguments->db.empty()) return;
    if (const auto recorded = record_survey(*arguments, *report); !recorded) {
      // An incompatible pair was found whatever becomes of its record.
      const int failed = complain(recorded.error());
      if (session.exit_status != kExitFindings) session.exit_status = failed;
    }
  });
}

}  // namespace migsoak::cli
