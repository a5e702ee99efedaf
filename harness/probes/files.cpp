// files: what stayed in the run directory and in /dev/shm.
//
// Below the run directory everything is suspect that the engine does not expect. An expected directory covers what is
// in it; a socket on which a living subject listens and a file that one has open are in use, not left over (a target
// may make files of its own). In /dev/shm, which the whole host shares, only what is provably ours counts: names that
// hold the run directory's name, and objects that a subject once had open and no subject has open any more.
#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "base/result.h"
#include "base/text.h"
#include "probes/ancestry.h"

namespace migsoak::probes {

namespace {

constexpr std::size_t kEntriesMax = 4096;  // per look; a flood of files must not stop the harness
constexpr int kDepthMax = 8;
constexpr const char* kSharedMemoryDir = "/dev/shm";

struct Leftover {
  std::string path;   // absolute
  std::string shown;  // relative to the run directory, or absolute
  std::string subject;
  std::int64_t process_id = 0;
};

std::string type_of(const struct stat& info) {
  if (S_ISSOCK(info.st_mode)) return "socket";
  if (S_ISREG(info.st_mode)) return "file";
  if (S_ISDIR(info.st_mode)) return "directory";
  if (S_ISFIFO(info.st_mode)) return "fifo";
  if (S_ISLNK(info.st_mode)) return "symlink";
  return "other";
}

bool exists(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0;
}

// `why`: left as it is when all names are there (one that is gone has none).
std::vector<std::string> names_in(const std::string& directory, std::string& why) {
  std::vector<std::string> names;
  DIR* stream = ::opendir(directory.c_str());
  if (stream == nullptr) {
    if (errno != ENOENT) why = base::fail_errno(directory, errno).value().describe();
    return names;
  }
  while (const dirent* entry = ::readdir(stream)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
    if (names.size() >= kEntriesMax) break;
  }
  if (names.size() >= kEntriesMax) why = fmt::format("{} holds {} entries and more", directory, kEntriesMax);
  ::closedir(stream);
  std::sort(names.begin(), names.end());
  return names;
}

class FilesLook {
 public:
  FilesLook(Scene& scene, ProbeState& state, record::Observation& into)
      : scene_(scene), impl_(state.impl()), into_(into) {
    for (const auto& [process_id, fds] : impl_.fds) {
      for (const proc::FdEntry& entry : fds) {
        if (entry.kind == "regular") in_use_.insert(entry.target);
        if (entry.kind != "unix") continue;
        const auto socket = impl_.unix_sockets.find(entry.inode);
        if (socket != impl_.unix_sockets.end() && socket->second.listening) in_use_.insert(socket->second.path);
      }
    }
  }

  void run() {
    if (!scene_.run_dir.empty()) walk(scene_.run_dir, 0);
    look_at_shared_memory();
    if (!unread_.empty()) note_unread(scene_, "samples", "host", 0, unread_, into_);
    std::erase_if(suspects_, [&](const Leftover& one) { return impl_.leftovers_reported.count(one.path) != 0; });
    const auto all_gone = [&] {
      return std::none_of(suspects_.begin(), suspects_.end(), [](const Leftover& one) { return exists(one.path); });
    };
    if (!suspects_.empty()) give_time_to_vanish(all_gone);
    for (const Leftover& one : suspects_) report(one);
    // The same name may be left behind again once it was cleaned up.
    std::erase_if(impl_.leftovers_reported, [](const std::string& path) { return !exists(path); });
  }

 private:
  bool holds_expected(const std::string& directory) const {
    const std::string prefix = directory + "/";
    const auto below = [&](const std::set<std::string>& paths) {
      const auto it = paths.lower_bound(prefix);
      return it != paths.end() && it->rfind(prefix, 0) == 0;
    };
    return below(scene_.expected_files) || below(in_use_);
  }

  void walk(const std::string& directory, int depth) {
    for (const std::string& name : names_in(directory, unread_)) {
      if (++entries_ > kEntriesMax) {
        unread_ = fmt::format("more than {} files in the run directory", kEntriesMax);
        return;
      }
      const std::string path = directory + "/" + name;
      if (scene_.expected_files.count(path) != 0 || in_use_.count(path) != 0) continue;
      if (depth == 0 && name == "owner") continue;  // proc/run_dir.h
      struct stat info {};
      if (::lstat(path.c_str(), &info) != 0) continue;
      if (S_ISDIR(info.st_mode) && depth < kDepthMax && (holds_expected(path) || scene_.looked_into.count(path) != 0)) {
        walk(path, depth + 1);
        continue;
      }
      const Subject* owner = owner_by_place(path);
      suspect(path, path.substr(scene_.run_dir.size() + 1), owner != nullptr ? owner : owner_by_name(name));
    }
  }

  void look_at_shared_memory() {
    const std::string tag = scene_.run_dir.substr(scene_.run_dir.rfind('/') + 1);
    if (tag.size() >= 6) {
      for (const std::string& name : names_in(kSharedMemoryDir, unread_)) {
        const std::string path = std::string(kSharedMemoryDir) + "/" + name;
        if (name.find(tag) == std::string::npos || scene_.expected_files.count(path) != 0) continue;
        if (in_use_.count(path) == 0 && impl_.shared_memory.count(path) == 0) suspect(path, path, nullptr);
      }
    }
    std::erase_if(impl_.shared_memory, [&](const auto& entry) {
      const auto& [path, seen] = entry;
      struct stat info {};
      if (::lstat(path.c_str(), &info) != 0 || info.st_ino != seen.inode) return true;  // gone, or someone else's
      if (in_use_.count(path) == 0 && scene_.expected_files.count(path) == 0) {
        suspects_.push_back({path, path, seen.subject, seen.process_id});
      }
      return false;
    });
  }

  const Subject* owner_by_place(const std::string& path) const {
    for (const auto& [directory, subject] : scene_.owners) {
      if (path.rfind(directory + "/", 0) == 0) return subject_named(scene_, subject);
    }
    return nullptr;
  }

  // Sockets and files of a target start with its name (target/target_kind.h, socket_path()).
  const Subject* owner_by_name(const std::string& file) const {
    for (const Subject& subject : scene_.subjects) {
      const std::size_t colon = subject.name.find(':');
      if (colon == std::string::npos || subject.name.rfind("target:", 0) != 0) continue;
      if (file.rfind(subject.name.substr(colon + 1) + ".", 0) == 0) return &subject;
    }
    return nullptr;
  }

  void suspect(const std::string& path, const std::string& shown, const Subject* owner) {
    if (owner == nullptr) {
      if (const auto* by_pid = owner_by_pid_in(impl_, path.substr(path.rfind('/') + 1))) {
        suspects_.push_back({path, shown, by_pid->subject, by_pid->process_id});
        return;
      }
      owner = subject_named(scene_, "harness");
    }
    suspects_.push_back({path, shown, owner == nullptr ? "harness" : owner->name,
                         owner == nullptr ? std::int64_t{0} : owner->process_id});
  }

  void report(const Leftover& one) {
    struct stat info {};
    if (::lstat(one.path.c_str(), &info) != 0) return;
    impl_.leftovers_reported.insert(one.path);
    const std::string shown = base::printable(one.shown, 200);
    const std::string type = type_of(info);
    record_event(scene_, record::event_kind::kLeftover, one.subject, one.process_id,
                 fmt::format("{} {} stayed behind", type, shown),
                 {{"path", shown}, {"type", type}, {"size_bytes", static_cast<std::int64_t>(info.st_size)}}, into_);
  }

  Scene& scene_;
  ProbeState::Impl& impl_;
  record::Observation& into_;
  std::set<std::string> in_use_;
  std::vector<Leftover> suspects_;
  std::string unread_;  // why not all is known; empty: all is
  std::size_t entries_ = 0;
};

}  // namespace

void run_files(Scene& scene, ProbeState& state, record::Observation& into) {
  FilesLook(scene, state, into).run();
}

}  // namespace migsoak::probes
