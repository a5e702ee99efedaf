// A Debian suite's QEMU, made to run beside the system's: downloaded with all it needs, unpacked into a tree of its
// own, and its programs bound to that tree's ld.so and libraries.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/text.h"
#include "fleet/apt.h"
#include "fleet/entry.h"
#include "fleet/inspect.h"
#include "fleet/tree.h"
#include "proc/program.h"

namespace migsoak::fleet {

namespace fs = std::filesystem;
using base::ErrorKind;
using base::Result;

namespace {

// Missing programs are told before anything is downloaded.
Result<void> check_tools() {
  const std::vector<std::pair<std::string, std::string>> needed = {
      {"apt-get", "apt"}, {"dpkg-deb", "dpkg"}, {"patchelf", "patchelf"}};
  for (const auto& [program, package] : needed) {
    if (!proc::find_program(program)) {
      return base::fail(ErrorKind::environment,
                        fmt::format("fetching needs '{}': apt-get install {}", program, package));
    }
  }
  return {};
}

// The id an entry of this version gets: its own again, or a longer one where another suite's build has the same.
std::string free_id(const std::vector<Build>& all, const Suite& suite, const std::string& version) {
  const std::string id = "qemu-" + version;
  const bool taken = std::any_of(all.begin(), all.end(), [&](const Build& build) {
    return build.id == id && build.suite != "debian:" + suite.name;
  });
  return taken ? id + "-" + suite.name : id;
}

// "5.2" out of "1:5.2+dfsg-11+deb11u3": enough to place the tree before its QEMU can be asked.
std::string upstream_version(const std::string& package_version) {
  const auto epoch = package_version.find(':');
  const std::string rest = package_version.substr(epoch == std::string::npos ? 0 : epoch + 1);
  return rest.substr(0, rest.find_first_not_of("0123456789."));
}

struct Fetch {
  const Host& host;
  const Suite& suite;
  base::Deadline deadline;
  const Progress& progress;

  void say(const std::string& line) const {
    if (progress) progress(line);
  }

  // Reads the index from the first mirror that has the suite.
  Result<void> update(PrivateApt& apt) const {
    MIGSOAK_ASSIGN(const std::vector<Mirror> all, mirrors(host, deadline));
    std::vector<std::string> reasons;
    for (const Mirror& mirror : all) {
      say(fmt::format("reading the index of {} at {}", suite.name, mirror.uri));
      auto updated = apt.update(suite, mirror, deadline);
      if (updated) return {};
      if (updated.error().kind != ErrorKind::environment) return updated;
      reasons.push_back(fmt::format("{}: {}", mirror.uri, updated.error().message));
    }
    return base::fail(ErrorKind::environment, base::join(reasons, "; "));
  }

  Result<Build> make(const FleetLock& lock, const WorkFolder& work, PrivateApt& apt, const std::string& package_version,
                     const std::vector<Build>& all) const {
    say(fmt::format("downloading QEMU {} with all it needs (40 to 100 MB)", package_version));
    MIGSOAK_ASSIGN(const auto packages, apt.download({"qemu-system-x86", "qemu-utils"}, deadline), "downloading");
    say(fmt::format("unpacking {} packages", packages.size()));
    const std::string id = free_id(all, suite, upstream_version(package_version));
    Tree tree{work.path() / "entry/tree", lock.dir / id / "tree", {}};
    MIGSOAK_TRY(make_tree(host, packages, tree, deadline));
    MIGSOAK_ASSIGN(Build build, inspect_through(host, launcher_in(tree), build_in(tree, tree.made), deadline),
                   "asking the new build");
    const LocalBuild placed = build_in(tree, tree.placed);
    build.id = id;
    build.suite = "debian:" + suite.name;
    build.package_version = package_version;
    build.binary = placed.path;
    build.args = placed.args;
    build.env = placed.env;
    MIGSOAK_TRY(write_entry(work.path() / "entry", build));
    MIGSOAK_TRY(publish(lock, work.path() / "entry", id));
    auto runs = identify(host, build.binary, deadline);
    if (runs) return build;
    (void)remove_entry(lock, id);
    return tl::unexpected<base::Error>(std::move(runs.error()).with_context("starting the new build"));
  }
};

// The entry that held the suite before lets go of it.
Result<void> release_suite(const FleetLock& lock, Build old) {
  old.suite.clear();
  return write_entry(lock.dir / old.id, old);
}

Result<Added> add_suite(const Host& host, const Suite& suite, bool refresh, base::Deadline deadline,
                        const Progress& progress) {
  const auto started = base::Clock::now();
  MIGSOAK_ASSIGN(const FleetLock lock, lock_fleet(host, deadline, progress));
  MIGSOAK_ASSIGN(const std::vector<Build> all, builds());
  const auto old =
      std::find_if(all.begin(), all.end(), [&](const Build& build) { return build.suite == "debian:" + suite.name; });
  if (old != all.end() && !refresh && !old->stale) return Added{*old, true, "", 0};
  MIGSOAK_TRY(check_tools());
  MIGSOAK_ASSIGN(const WorkFolder work, WorkFolder::create(lock.dir));
  const Fetch fetch{host, suite, deadline, progress};
  PrivateApt apt(host, work.path() / "apt");
  MIGSOAK_TRY(fetch.update(apt));
  MIGSOAK_ASSIGN(const std::string version, apt.candidate("qemu-system-x86", deadline));
  if (old != all.end() && !old->stale && old->package_version == version) return Added{*old, true, "", 0};
  MIGSOAK_ASSIGN(const Build made, fetch.make(lock, work, apt, version, all));
  Added added;
  if (old != all.end() && old->id != made.id) {
    MIGSOAK_TRY(release_suite(lock, *old));
    added.replaced = old->id;
  }
  MIGSOAK_ASSIGN(const auto found, find(made.id));
  added.build = found.value_or(made);
  added.seconds = base::milliseconds_between(started, base::Clock::now()) / 1000;
  return added;
}

}  // namespace

std::vector<std::string> debian_suites() {
  std::vector<std::string> names;
  for (const Suite& suite : suites()) names.push_back(suite.name);
  return names;
}

Result<Added> add_debian(const Host& host, const std::string& suite, bool refresh, base::Deadline deadline,
                         const Progress& progress) {
  const std::string name = suite.starts_with("debian:") ? suite.substr(7) : suite;
  const auto known =
      std::find_if(suites().begin(), suites().end(), [&](const Suite& item) { return item.name == name; });
  if (known == suites().end()) {
    const std::string near = base::nearest_name(name, debian_suites());
    return base::fail(ErrorKind::bad_input,
                      fmt::format("no suite 'debian:{}'{}; there are: {}", base::printable(name),
                                  near.empty() ? "" : fmt::format(", did you mean 'debian:{}'?", near),
                                  base::join(debian_suites(), ", ")));
  }
  auto added = add_suite(host, *known, refresh, deadline, progress);
  if (added || added.error().kind == ErrorKind::interrupted) return added;
  return base::fail(added.error().kind,
                    fmt::format("debian:{} could not be fetched: {}; nothing of it was kept, again: "
                                "migsoak fleet add debian:{}",
                                name, added.error().describe(), name));
}

}  // namespace migsoak::fleet
