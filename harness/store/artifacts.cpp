#include "store/artifacts.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "base/unique_fd.h"

namespace migsoak::store {

namespace fs = std::filesystem;

namespace {

constexpr const char* kKeepMark = ".keep";
constexpr std::size_t kNameBytesMax = 120;

std::string plain_name(const std::string& name) {
  std::string plain;
  for (const char c : name.substr(0, kNameBytesMax)) {
    const bool safe = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                      c == '_' || c == '.' || c == '@';
    plain += safe ? c : '_';
  }
  if (plain.empty() || plain.front() == '.') plain.insert(plain.begin(), '_');
  return plain;
}

std::string iteration_name(std::int64_t iteration) {
  return fmt::format("i{:08}", iteration);
}

struct Folder {
  fs::path path;
  std::int64_t iteration = 0;
  bool kept = false;
  std::uint64_t bytes = 0;
  std::size_t files = 0;
  fs::file_time_type youngest = fs::file_time_type::min();
};

// Symbolic links are counted as themselves, never followed.
void measure(const fs::directory_entry& entry, Folder& into) {
  std::error_code gone;
  const fs::file_status status = entry.symlink_status(gone);
  if (gone || !fs::is_regular_file(status)) return;
  const std::uint64_t bytes = entry.file_size(gone);
  if (!gone) into.bytes += bytes;
  ++into.files;
  const fs::file_time_type time = entry.last_write_time(gone);
  if (!gone) into.youngest = std::max(into.youngest, time);
}

Folder measure_folder(const fs::path& path) {
  Folder folder;
  folder.path = path;
  folder.iteration = std::strtoll(path.filename().c_str() + 1, nullptr, 10);
  std::error_code gone;
  folder.kept = fs::exists(path / kKeepMark, gone);
  folder.youngest = fs::last_write_time(path, gone);
  if (gone) folder.youngest = fs::file_time_type::min();
  for (const fs::directory_entry& entry : fs::directory_iterator(path, gone)) measure(entry, folder);
  return folder;
}

bool is_iteration_name(const std::string& name) {
  return name.size() >= 9 && name[0] == 'i' &&
         std::all_of(name.begin() + 1, name.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

base::Result<Artifacts> Artifacts::create(const std::string& directory, ArtifactLimits limits) {
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return base::fail_errno("cannot create " + directory, errno);
  }
  std::error_code error;
  if (!fs::is_directory(directory, error)) {
    return base::fail(base::ErrorKind::bad_input, directory + " is not a directory");
  }
  return Artifacts(directory, limits);
}

std::string Artifacts::path_for(const std::string& name) const {
  return directory_ + "/" + plain_name(name);
}

base::Result<std::string> Artifacts::path_for(std::int64_t iteration, const std::string& name) const {
  const std::string folder = directory_ + "/" + iteration_name(iteration);
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return base::fail_errno("cannot create " + folder, errno);
  return folder + "/" + plain_name(name);
}

base::Result<void> Artifacts::keep(std::int64_t iteration) const {
  const std::string folder = directory_ + "/" + iteration_name(iteration);
  std::error_code error;
  if (!fs::is_directory(folder, error)) return {};  // no artifacts, nothing to keep
  const std::string mark = folder + "/" + kKeepMark;
  base::UniqueFd fd(::open(mark.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return base::fail_errno("cannot create " + mark, errno);
  return {};
}

base::Result<std::uint64_t> Artifacts::prune() const {
  std::vector<Folder> folders;
  Folder total;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory_, error)) {
    std::error_code gone;
    if (fs::is_directory(entry.symlink_status(gone)) && is_iteration_name(entry.path().filename().string())) {
      folders.push_back(measure_folder(entry.path()));
      total.bytes += folders.back().bytes;
      total.files += folders.back().files;
    } else {
      measure(entry, total);
    }
  }
  if (error) return base::fail(base::ErrorKind::environment, "cannot read " + directory_ + ": " + error.message());
  std::sort(folders.begin(), folders.end(), [](const Folder& a, const Folder& b) {
    return std::pair(a.kept, a.iteration) < std::pair(b.kept, b.iteration);
  });
  const fs::file_time_type oldest = fs::file_time_type::clock::now() - limits_.age_max;
  std::uint64_t removed = 0;
  for (const Folder& folder : folders) {
    const bool too_much = total.bytes > limits_.bytes_max || total.files > limits_.files_max;
    if (!too_much && folder.youngest >= oldest) continue;
    fs::remove_all(folder.path, error);
    if (error) return base::fail(base::ErrorKind::environment, "cannot remove " + folder.path.string());
    total.bytes -= folder.bytes;
    total.files -= folder.files;
    removed += folder.bytes;
  }
  return removed;
}

}  // namespace migsoak::store
