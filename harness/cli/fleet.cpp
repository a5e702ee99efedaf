#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/json.h"
#include "base/text.h"
#include "cli/commands.h"
#include "fleet/fleet.h"
#include "proc/run_dir.h"

namespace migsoak::cli {

namespace {

struct FleetArguments {
  std::string word;
  std::string path;
  std::vector<std::string> words;
  std::vector<std::string> env;
  bool refresh = false;
  bool json = false;
  int minutes = 10;
};

int fleet_failure(const base::Error& error) {
  const int status = complain(error);
  return error.kind == base::ErrorKind::interrupted ? 130 : status;
}

// Children live in a containment of their own: nothing outlives a killed `fleet add`.
int with_host(Session& session, const std::function<int(const fleet::Host&)>& work) {
  // No iteration to end in peace: the first Ctrl-C ends it (proc/reactor.h).
  session.stop.raise();
  const auto run_dir = proc::RunDir::create("fleet");
  if (!run_dir) return fleet_failure(run_dir.error());
  const auto containment = proc::Containment::start({"fleet", (*run_dir)->path(), ""});
  if (!containment) return fleet_failure(containment.error());
  proc::Reactor reactor(&session.stop);
  return work({reactor, **containment});
}

std::string one_line(const fleet::Build& build) {
  return fmt::format("{:<14} {:<26} {:<8} {:<30} {}", build.name, build.suite.empty() ? "own" : build.suite,
                     build.version, build.package_version.empty() ? "-" : build.package_version,
                     base::printable(build.binary));
}

void print_added(const fleet::Added& added) {
  print(one_line(added.build));
  const auto& build = added.build;
  const std::string what =
      added.was_there ? "already there, nothing to do"
                      : fmt::format("{} machine types, {} devices, migration modes {}; {:.1f} s", build.machines.size(),
                                    build.devices.size(), base::join(build.modes, " "), added.seconds);
  fmt::print(stderr, "fleet: {}\n", what);
  if (!added.replaced.empty())
    fmt::print(stderr, "fleet: {0} was the suite's build before; it stays until `migsoak fleet remove {0}`\n",
               added.replaced);
}

base::Result<fleet::LocalBuild> local_build(const FleetArguments& arguments) {
  fleet::LocalBuild own{arguments.word, arguments.path, arguments.words, {}};
  for (const std::string& pair : arguments.env) {
    const auto equals = pair.find('=');
    if (equals == std::string::npos || equals == 0)
      return base::fail(base::ErrorKind::bad_input, fmt::format("--env {}: NAME=VALUE", base::printable(pair)));
    own.env[pair.substr(0, equals)] = pair.substr(equals + 1);
  }
  return own;
}

int fleet_add(const FleetArguments& arguments, Session& session) {
  const bool debian = arguments.word.starts_with("debian:");
  if (!debian && arguments.path.empty()) {
    const auto suites = fleet::debian_suites();
    const bool bare = std::find(suites.begin(), suites.end(), arguments.word) != suites.end();
    return fleet_failure(
        {base::ErrorKind::bad_input,
         bare ? fmt::format("did you mean 'debian:{}'?", arguments.word)
              : fmt::format("'{}' is no suite ({}); for a build of your own: migsoak fleet add NAME PATH",
                            base::printable(arguments.word), "debian:" + base::join(suites, ", debian:")),
         {}});
  }
  if (debian && (!arguments.path.empty() || !arguments.words.empty() || !arguments.env.empty()))
    return fleet_failure({base::ErrorKind::bad_input, "a path, --arg and --env are for builds of your own", {}});
  return with_host(session, [&](const fleet::Host& host) {
    const auto deadline = base::Deadline::in(std::chrono::minutes(arguments.minutes));
    base::Result<fleet::Added> added = base::fail(base::ErrorKind::bad_input, "");
    if (debian) {
      added = fleet::add_debian(host, arguments.word, arguments.refresh, deadline,
                                [](const std::string& line) { fmt::print(stderr, "fleet: {}\n", line); });
    } else if (const auto own = local_build(arguments)) {
      added = fleet::add_local(host, *own, deadline);
    } else {
      return fleet_failure(own.error());
    }
    if (!added) return fleet_failure(added.error());
    print_added(*added);
    return kExitPass;
  });
}

int fleet_list(const FleetArguments& arguments) {
  std::vector<std::string> troubles;
  const auto builds = fleet::builds(&troubles);
  if (!builds) return fleet_failure(builds.error());
  for (const std::string& trouble : troubles) fmt::print(stderr, "fleet: {}\n", trouble);
  if (arguments.json) {
    base::Json rows = base::Json::array();
    for (const fleet::Build& build : *builds) rows.push_back(fleet::to_json(build));
    print(rows.dump(2, ' ', false, base::Json::error_handler_t::replace));
    return kExitPass;
  }
  for (const fleet::Build& build : *builds) print(one_line(build));
  if (builds->empty())
    fmt::print(stderr, "no builds in {}; `migsoak fleet add debian:trixie` fetches one\n", fleet::fleet_dir());
  return kExitPass;
}

int fleet_remove(const FleetArguments& arguments, Session& session) {
  return with_host(session, [&](const fleet::Host& host) {
    const auto removed = fleet::remove(host, arguments.word, base::Deadline::in(std::chrono::minutes(1)));
    if (!removed) return fleet_failure(removed.error());
    fmt::print(stderr, "fleet: {} removed\n", base::printable(removed->name));
    return kExitPass;
  });
}

}  // namespace

void add_fleet(CLI::App& app, Session& session) {
  auto arguments = std::make_shared<FleetArguments>();
  CLI::App* command = app.add_subcommand("fleet", "QEMU builds by name, fetched side by side");
  command->require_subcommand(1);
  CLI::App* add = command->add_subcommand("add", "Fetch a Debian suite's QEMU, or name a build of your own");
  add->add_option("build", arguments->word, "debian:" + base::join(fleet::debian_suites(), "|") + ", or NAME with PATH")
      ->required();
  add->add_option("path", arguments->path, "The qemu-system-x86_64 of your own build");
  add->add_option("--arg", arguments->words, "A word that goes right after the binary (may be given again)")
      ->allow_extra_args(false);
  add->add_option("--env", arguments->env, "NAME=VALUE for its environment (may be given again)")
      ->allow_extra_args(false);
  add->add_flag("--refresh", arguments->refresh, "Look for a newer package even when the suite is there");
  add->add_option("--minutes", arguments->minutes, "Give up after this long")->check(CLI::Range(1, 24 * 60));
  add->callback([arguments, &session] { session.exit_status = fleet_add(*arguments, session); });
  CLI::App* list = command->add_subcommand("list", "The builds: name, suite, version, package, path");
  list->add_flag("--json", arguments->json, "A JSON array, with machine types, devices, modes");
  list->callback([arguments, &session] { session.exit_status = fleet_list(*arguments); });
  CLI::App* remove = command->add_subcommand("remove", "Remove a build (never your own binary)");
  remove->add_option("name", arguments->word, "As `fleet list` shows it")->required();
  remove->callback([arguments, &session] { session.exit_status = fleet_remove(*arguments, session); });
}

}  // namespace migsoak::cli
