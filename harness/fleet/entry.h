// Entries on disk: reading, publishing, removing, and the lock that a change takes. Internal to fleet.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "fleet/fleet.h"

namespace migsoak::fleet {

// The fleet's folder, made (0755) when missing, locked against other changes. Half-made entries of a killed `fleet add`
// are removed: with the lock held nobody is at work on them.
struct FleetLock {
  std::filesystem::path dir;
  base::UniqueFd lock;
};
base::Result<FleetLock> lock_fleet(const Host& host, base::Deadline deadline, const Progress& progress);

// A folder of the fleet that is removed at the end; its name begins with ".new-", so no reader takes it for an entry.
class WorkFolder {
 public:
  static base::Result<WorkFolder> create(const std::filesystem::path& fleet);
  ~WorkFolder();
  WorkFolder(WorkFolder&& other) noexcept : path_(std::move(other.path_)) { other.path_.clear(); }
  WorkFolder& operator=(WorkFolder&&) = delete;
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  explicit WorkFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

// Writes entry.json: a new file, then rename(2).
base::Result<void> write_entry(const std::filesystem::path& folder, const Build& build);
// Renames `made` (with its entry.json) to its id; an entry of that id is exchanged for it in one step (renameat2(2)).
base::Result<void> publish(const FleetLock& lock, const std::filesystem::path& made, const std::string& id);
base::Result<void> remove_entry(const FleetLock& lock, const std::string& id);

// Every name a word can mean, for "did you mean".
std::vector<std::string> known_words(const std::vector<Build>& builds);

}  // namespace migsoak::fleet
