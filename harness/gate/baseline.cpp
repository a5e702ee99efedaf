#include "gate/baseline.h"

#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/text.h"
#include "gate/difference.h"
#include "record/run_end.h"
#include "store/store.h"

namespace migsoak::gate {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kDatabasesMax = 10'000;

base::Result<std::vector<std::string>> databases_below(const std::string& directory) {
  const auto refused = [&](const std::string& why) {
    return base::fail(base::ErrorKind::bad_input, fmt::format("--baseline {}: {}", base::printable(directory), why));
  };
  std::vector<std::string> found;
  std::error_code error;
  // Links are not followed: they may lead anywhere, and in circles.
  for (fs::recursive_directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (entry->path().extension() != ".db" || !entry->is_regular_file(ignored)) continue;
    if (found.size() == kDatabasesMax) return refused(fmt::format("more than {} databases", kDatabasesMax));
    found.push_back(entry->path());
  }
  if (error) return refused("can't read this directory: " + error.message());
  return found;
}

bool passed(const store::Store& store) {
  const auto summary = store.summary();
  if (!summary || summary->verdict != record::Verdict::pass) return false;
  const auto end = store::run_end(store, *summary);
  return end && record::came_to_its_end(*end);
}

}  // namespace

base::Result<Baseline> newest_that_passed(const std::string& directory, const store::Store& run) {
  MIGSOAK_ASSIGN(const std::vector<std::string> paths, databases_below(directory));
  Baseline best;
  std::int64_t began = 0;
  for (const std::string& path : paths) {
    std::error_code ignored;
    if (fs::equivalent(path, run.path(), ignored)) continue;
    const auto other = store::Store::open(path);
    if (!other) continue;
    ++best.looked_at;
    const record::Manifest& manifest = (*other)->manifest();
    if (manifest.started_unix_ms > run.manifest().started_unix_ms) continue;
    if (!best.path.empty() && manifest.started_unix_ms <= began) continue;
    if (!same_scenario(manifest, run.manifest()) || !passed(**other)) continue;
    best.path = path;
    began = manifest.started_unix_ms;
  }
  return best;
}

}  // namespace migsoak::gate
