// The user's own builds, and what a word means: a name, a suite, a path.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "fleet/apt.h"
#include "fleet/entry.h"
#include "fleet/inspect.h"
#include "proc/program.h"

namespace migsoak::fleet {

using base::ErrorKind;
using base::Result;

namespace {

constexpr std::string_view kDebianPrefix = "debian:";

Result<void> check_name(const std::string& name) {
  const auto allowed = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '+' || c == '-';
  };
  if (!name.empty() && name.size() <= 64 && std::isalnum(static_cast<unsigned char>(name.front())) != 0 &&
      std::all_of(name.begin(), name.end(), allowed))
    return {};
  return base::fail(ErrorKind::bad_input,
                    fmt::format("'{}' can't be a build's name: letters, digits and . _ + -, at most 64, a letter or "
                                "digit first",
                                base::printable(name, 80)));
}

tl::unexpected<base::Error> no_such_build(const std::string& word, const std::vector<Build>& all) {
  std::vector<std::string> words = known_words(all);
  for (const Suite& suite : suites()) {
    const std::string name = std::string(kDebianPrefix) + suite.name;
    if (std::find(words.begin(), words.end(), name) == words.end()) words.push_back(name);
  }
  const std::string near = base::nearest_name(word, words);
  std::vector<std::string> names;
  for (const Build& build : all) names.push_back(build.name);
  return base::fail(ErrorKind::bad_input,
                    fmt::format("no build '{}' in the fleet{}; {}", base::printable(word),
                                near.empty() ? "" : fmt::format(", did you mean '{}'?", near),
                                names.empty() ? "it is empty" : "there are: " + base::join(names, ", ")));
}

// What the fleet remembers, or, when the binary has changed since, what it says now.
Result<Build> fresh(const Host& host, Build build, base::Deadline deadline) {
  if (!build.stale) return build;
  MIGSOAK_ASSIGN(Build now, inspect_build(host, {build.name, build.binary, build.args, build.env}, deadline),
                 build.name);
  now.name = build.name;
  now.id = build.id;
  now.suite = build.suite;
  now.package_version = build.package_version;
  // A fleet that can't be written still serves: it asks again the next time.
  (void)write_entry(std::filesystem::path(fleet_dir()) / build.id, now);
  return now;
}

Result<Build> resolve_suite(const Host& host, const std::string& word, WhenMissing when_missing,
                            base::Deadline deadline, const Progress& progress) {
  const auto names = debian_suites();
  const bool known = std::find(names.begin(), names.end(), word.substr(kDebianPrefix.size())) != names.end();
  if (known && when_missing == WhenMissing::refuse)
    return base::fail(ErrorKind::bad_input, fmt::format("{0} is not in the fleet: migsoak fleet add {0}", word));
  // An unknown suite is refused there, before anything is fetched.
  MIGSOAK_ASSIGN(Added added, add_debian(host, word, false, deadline, progress));
  return std::move(added.build);
}

}  // namespace

Result<Build> resolve(const Host& host, const std::string& word, WhenMissing when_missing, base::Deadline deadline,
                      const Progress& progress) {
  if (word.find('/') == std::string::npos) {
    MIGSOAK_ASSIGN(std::optional<Build> found, find(word));
    if (found) return fresh(host, std::move(*found), deadline);
    if (word.starts_with(kDebianPrefix)) return resolve_suite(host, word, when_missing, deadline, progress);
  }
  auto asked = inspect_build(host, {word, word, {}, {}}, deadline);
  if (asked) {
    asked->name = word;
    return asked;
  }
  if (word.find('/') != std::string::npos || proc::find_program(word)) return asked;
  MIGSOAK_ASSIGN(const std::vector<Build> all, builds());
  base::Error error = no_such_build(word, all).value();
  error.message = fmt::format("no '{}' in PATH, and {}", base::printable(word), error.message);
  return tl::unexpected<base::Error>(std::move(error));
}

Result<Added> add_local(const Host& host, const LocalBuild& local, base::Deadline deadline) {
  const auto started = base::Clock::now();
  MIGSOAK_TRY(check_name(local.name));
  MIGSOAK_ASSIGN(Build build, inspect_build(host, local, deadline));
  MIGSOAK_ASSIGN(const FleetLock lock, lock_fleet(host, deadline, {}));
  MIGSOAK_ASSIGN(const std::vector<Build> all, builds());
  bool was_there = false;
  for (const Build& other : all) {
    if (other.name != local.name && other.id != local.name) continue;
    if (!other.suite.empty() || other.binary != build.binary) {
      return base::fail(ErrorKind::bad_input,
                        fmt::format("the name '{0}' is taken by {1}; choose another, or: migsoak fleet remove {0}",
                                    local.name, other.suite.empty() ? other.binary : other.suite));
    }
    was_there = true;
  }
  build.id = local.name;
  build.name = local.name;
  MIGSOAK_ASSIGN(const WorkFolder work, WorkFolder::create(lock.dir));
  std::error_code error;
  std::filesystem::create_directory(work.path() / "entry", error);
  MIGSOAK_TRY(write_entry(work.path() / "entry", build));
  MIGSOAK_TRY(publish(lock, work.path() / "entry", build.id));
  return Added{std::move(build), was_there, "", base::milliseconds_between(started, base::Clock::now()) / 1000};
}

Result<Build> remove(const Host& host, const std::string& word, base::Deadline deadline) {
  MIGSOAK_ASSIGN(const FleetLock lock, lock_fleet(host, deadline, {}));
  MIGSOAK_ASSIGN(std::optional<Build> found, find(word));
  if (!found) {
    // What can't be read any more can still be removed, by its folder's name.
    std::error_code error;
    if (!check_name(word) || !std::filesystem::is_directory(lock.dir / word, error)) {
      MIGSOAK_ASSIGN(const std::vector<Build> all, builds());
      return no_such_build(word, all);
    }
    found = Build{};
    found->id = found->name = word;
  }
  MIGSOAK_TRY(remove_entry(lock, found->id));
  return std::move(*found);
}

}  // namespace migsoak::fleet
