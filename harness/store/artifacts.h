// Artifacts: logs, stacks and cores beside the database, bounded in size, number and age.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/result.h"

namespace migsoak::store {

struct ArtifactLimits {
  std::uint64_t bytes_max = 256ull << 20;  // of all files together
  std::size_t files_max = 10'000;
  std::chrono::hours age_max{24 * 30};
};

// <dir>/<name> for what belongs to the run, <dir>/i00000042/<name> for what belongs to an iteration.
class Artifacts {
 public:
  // Makes the directory (0700) where it is missing; one left by an earlier run is gone on with.
  static base::Result<Artifacts> create(const std::string& directory, ArtifactLimits limits = {});

  const std::string& directory() const { return directory_; }
  // Where to write; the file itself is the caller's to make. `name` is made a plain file name.
  std::string path_for(const std::string& name) const;
  base::Result<std::string> path_for(std::int64_t iteration, const std::string& name) const;
  // This iteration's artifacts are evidence: they go last.
  base::Result<void> keep(std::int64_t iteration) const;
  // Removes what is too old, then as much as the limits ask for: oldest iterations first, clean ones before kept ones.
  // The run's own files are counted and stay. Returns the bytes removed.
  base::Result<std::uint64_t> prune() const;

 private:
  Artifacts(std::string directory, ArtifactLimits limits) : directory_(std::move(directory)), limits_(limits) {}
  std::string directory_;
  ArtifactLimits limits_;
};

}  // namespace migsoak::store
