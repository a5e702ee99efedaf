#include "fleet/entry.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/text.h"
#include "base/version.h"
#include "fleet/inspect.h"

namespace migsoak::fleet {

namespace fs = std::filesystem;
using base::ErrorKind;
using base::Result;

namespace {

constexpr std::string_view kWorkPrefix = ".new-";
constexpr std::string_view kFetchedPrefix = "qemu-";

// entry.json is ours; a limit all the same, for what somebody else put there.
Result<std::string> read_entry_text(const fs::path& file) {
  constexpr std::uintmax_t kBytesMax = 4u << 20;
  std::error_code error;
  if (fs::file_size(file, error) > kBytesMax || error)
    return base::fail(ErrorKind::environment, error ? error.message() : "it is too large");
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

Result<Build> read_entry(const fs::path& folder) {
  MIGSOAK_ASSIGN(const std::string text, read_entry_text(folder / "entry.json"));
  MIGSOAK_ASSIGN(const base::Json json, base::parse_json(text));
  MIGSOAK_ASSIGN(Build build, build_from_json(json));
  build.id = folder.filename();
  const std::string stamp = binary_stamp(build.binary);
  if (stamp.empty()) return base::fail(ErrorKind::environment, "its binary is gone: " + build.binary);
  build.stale = stamp != build.stamp;
  return build;
}

// "qemu-11.1" where no other build is an 11.1, else the id.
void give_short_names(std::vector<Build>& builds) {
  for (Build& build : builds) {
    build.name = build.id;
    if (build.suite.empty()) continue;
    const std::string brief = std::string(kFetchedPrefix) + base::major_minor(build.version);
    const auto same = std::count_if(builds.begin(), builds.end(), [&](const Build& other) {
      return other.id == brief ||
             (!other.suite.empty() && base::major_minor(other.version) == base::major_minor(build.version));
    });
    if (same == 1) build.name = brief;
  }
}

void sweep_work_folders(const fs::path& fleet) {
  std::error_code error;
  std::vector<fs::path> found;
  for (const auto& item : fs::directory_iterator(fleet, error)) {
    if (item.path().filename().string().starts_with(kWorkPrefix)) found.push_back(item.path());
  }
  for (const fs::path& path : found) fs::remove_all(path, error);
}

}  // namespace

std::string fleet_dir() {
  const auto set = [](const char* name) {
    const char* value = std::getenv(name);
    return value != nullptr && *value != '\0' ? std::string(value) : std::string();
  };
  std::error_code error;
  // Absolute: fetched binaries hold the path of their ELF interpreter.
  if (const std::string dir = set("MIGSOAK_FLEET_DIR"); !dir.empty()) return fs::absolute(dir, error);
  if (const std::string cache = set("XDG_CACHE_HOME"); !cache.empty()) return cache + "/migsoak/fleet";
  const std::string home = set("HOME");
  return (home.empty() ? "/root" : home) + "/.cache/migsoak/fleet";
}

Result<std::vector<Build>> builds(std::vector<std::string>* troubles) {
  const fs::path dir = fleet_dir();
  std::vector<Build> found;
  std::error_code error;
  if (!fs::exists(dir, error)) return found;
  fs::directory_iterator item(dir, error);
  if (error) return base::fail(ErrorKind::environment, fmt::format("{}: {}", dir.string(), error.message()));
  for (const fs::directory_iterator end; item != end && !error; item.increment(error)) {
    const std::string id = item->path().filename();
    if (id.starts_with('.')) continue;
    auto build = read_entry(item->path());
    if (build) {
      found.push_back(std::move(*build));
    } else if (troubles != nullptr) {
      troubles->push_back(fmt::format("{}: {}; `migsoak fleet remove {}` removes it", base::printable(id),
                                      build.error().describe(), base::shell_quote(base::printable(id))));
    }
  }
  std::sort(found.begin(), found.end(), [](const Build& a, const Build& b) {
    if (base::older_version(a.version, b.version)) return true;
    return !base::older_version(b.version, a.version) && a.id < b.id;
  });
  give_short_names(found);
  return found;
}

std::vector<std::string> known_words(const std::vector<Build>& builds) {
  std::vector<std::string> words;
  for (const Build& build : builds) {
    words.push_back(build.name);
    if (build.id != build.name) words.push_back(build.id);
    if (!build.suite.empty()) words.push_back(build.suite);
  }
  return words;
}

Result<std::optional<Build>> find(const std::string& word) {
  MIGSOAK_ASSIGN(const std::vector<Build> all, builds(), "the fleet");
  std::vector<const Build*> near;
  for (const Build& build : all) {
    if (word == build.id || word == build.name || (!build.suite.empty() && word == build.suite)) return build;
    if (!build.suite.empty() && word.starts_with(kFetchedPrefix) &&
        base::is_version_prefix(std::string_view(word).substr(kFetchedPrefix.size()), build.version))
      near.push_back(&build);
  }
  if (near.empty()) return std::optional<Build>();
  if (near.size() == 1) return *near.front();
  std::vector<std::string> names;
  names.reserve(near.size());
  for (const Build* build : near) names.push_back(build->name);
  return base::fail(ErrorKind::bad_input,
                    fmt::format("'{}' can mean {}: which one?", base::printable(word), base::join(names, " or ")));
}

Result<FleetLock> lock_fleet(const Host& host, base::Deadline deadline, const Progress& progress) {
  FleetLock locked{fleet_dir(), {}};
  std::error_code error;
  fs::create_directories(locked.dir, error);
  if (error)
    return base::fail(ErrorKind::environment, fmt::format("can't make {}: {}", locked.dir.string(), error.message()));
  const std::string file = locked.dir / ".lock";
  locked.lock.reset(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!locked.lock.valid()) return base::fail_errno(file, errno);
  const auto taken = [&] { return ::flock(locked.lock.get(), LOCK_EX | LOCK_NB) == 0; };
  if (!taken()) {
    if (progress) progress("another migsoak is changing the fleet: waiting for it");
    const auto waited = host.reactor.run_until(taken, deadline);
    if (waited == proc::Wait::interrupted) return base::fail(ErrorKind::interrupted, "stopped");
    if (waited == proc::Wait::timeout)
      return base::fail(ErrorKind::timeout, "another migsoak has been changing the fleet all the time");
  }
  sweep_work_folders(locked.dir);
  return locked;
}

Result<WorkFolder> WorkFolder::create(const fs::path& fleet) {
  std::string name = (fleet / (std::string(kWorkPrefix) + "XXXXXX")).string();
  if (::mkdtemp(name.data()) == nullptr) return base::fail_errno(name, errno);
  return WorkFolder(name);
}

WorkFolder::~WorkFolder() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

Result<void> write_entry(const fs::path& folder, const Build& build) {
  const fs::path fresh = folder / "entry.json.new";
  {
    std::ofstream out(fresh, std::ios::binary);
    out << to_json(build).dump(1, ' ', false, base::Json::error_handler_t::replace) << '\n';
    out.close();
    if (!out) return base::fail(ErrorKind::environment, "can't write " + fresh.string());
  }
  std::error_code error;
  fs::rename(fresh, folder / "entry.json", error);
  if (error) return base::fail(ErrorKind::environment, fmt::format("{}: {}", fresh.string(), error.message()));
  return {};
}

Result<void> publish(const FleetLock& lock, const fs::path& made, const std::string& id) {
  const std::string place = lock.dir / id;
  const bool there = ::access(place.c_str(), F_OK) == 0;
  const unsigned flags = there ? RENAME_EXCHANGE : RENAME_NOREPLACE;
  if (::renameat2(AT_FDCWD, made.c_str(), AT_FDCWD, place.c_str(), flags) != 0) return base::fail_errno(place, errno);
  return {};
}

Result<void> remove_entry(const FleetLock& lock, const std::string& id) {
  // Out of sight in one step, then at leisure.
  MIGSOAK_ASSIGN(const WorkFolder grave, WorkFolder::create(lock.dir));
  std::error_code error;
  fs::rename(lock.dir / id, grave.path() / "entry", error);
  if (error)
    return base::fail(ErrorKind::environment, fmt::format("{}: {}", (lock.dir / id).string(), error.message()));
  return {};
}

}  // namespace migsoak::fleet
