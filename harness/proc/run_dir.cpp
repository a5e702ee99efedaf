#include "proc/run_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "base/log.h"
#include "base/text.h"
#include "proc/proc_fs.h"

namespace migsoak::proc {

namespace {

constexpr const char* kOwnerFile = "owner";
constexpr std::string_view kOwnerMagic = "migsoak-run 1";
constexpr std::size_t kOwnerBytesMax = 4096;
constexpr std::size_t kNameLength = 6;
constexpr int kDirectoryFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
constexpr int kTreeDepthMax = 64;

std::string base_directory() {
  const char* chosen = std::getenv("MIGSOAK_RUN_BASE");
  return chosen != nullptr && *chosen != '\0' ? chosen : "/tmp";
}
std::string our_directory_name() {
  return "migsoak-" + std::to_string(::geteuid());
}

bool is_run_name(std::string_view name) {
  if (name.size() != kNameLength) return false;
  for (const char c : name) {
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))) return false;
  }
  return true;
}

std::string random_name() {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz0123456789";
  unsigned char bytes[kNameLength] = {};
  if (::getrandom(bytes, sizeof bytes, 0) != static_cast<ssize_t>(sizeof bytes)) return {};
  std::string name;
  for (const unsigned char byte : bytes) name += kLetters[byte % kLetters.size()];
  return name;
}

// A directory that only we can have made and only we can look into.
bool is_private_directory(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && S_ISDIR(info.st_mode) && info.st_uid == ::geteuid() &&
         (info.st_mode & 0777) == 0700;
}

bool is_owner_text(std::string_view text) {
  const std::vector<std::string> lines = base::split(text, '\n');
  if (lines.size() < 4 || lines[0] != kOwnerMagic) return false;
  const auto is_number = [](const std::string& line, std::string_view key) {
    if (line.rfind(key, 0) != 0) return false;
    long long value = 0;
    const char* end = line.data() + line.size();
    const auto [rest, trouble] = std::from_chars(line.data() + key.size(), end, value);
    return trouble == std::errc() && rest == end && value > 0;
  };
  return lines[1].rfind("run_id ", 0) == 0 && is_number(lines[2], "pid ") && is_number(lines[3], "start_ticks ");
}

// The owner file of the run directory `directory`, when it is there, ours, and says what an owner file says.
base::UniqueFd open_owner(int directory) {
  base::UniqueFd file(::openat(directory, kOwnerFile, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat info {};
  if (!file.valid() || ::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_uid != ::geteuid()) {
    return {};
  }
  char buffer[kOwnerBytesMax];
  const ssize_t bytes = ::pread(file.get(), buffer, sizeof buffer, 0);
  if (bytes <= 0 || !is_owner_text(std::string_view(buffer, static_cast<std::size_t>(bytes)))) return {};
  return file;
}

// Removes what is in `directory`, never following a link and never crossing into another file system; `owner` of the
// top level stays, so that a removal cut short can be finished by the next run.
bool remove_contents(int directory, dev_t device, int depth) {
  const int listing = ::openat(directory, ".", kDirectoryFlags);
  if (listing < 0) return false;
  DIR* entries = ::fdopendir(listing);
  if (entries == nullptr) {
    ::close(listing);
    return false;
  }
  bool complete = true;
  while (const dirent* entry = ::readdir(entries)) {
    const std::string name = entry->d_name;
    if (name == "." || name == ".." || (depth == 0 && name == kOwnerFile)) continue;
    if (::unlinkat(directory, name.c_str(), 0) == 0 || errno == ENOENT) continue;
    base::UniqueFd below(::openat(directory, name.c_str(), kDirectoryFlags));
    if (!below.valid() && errno == EACCES && ::fchmodat(directory, name.c_str(), 0700, 0) == 0) {
      below.reset(::openat(directory, name.c_str(), kDirectoryFlags));
    }
    struct stat info {};
    const bool same_device = below.valid() && ::fstat(below.get(), &info) == 0 && info.st_dev == device;
    if (!same_device || depth >= kTreeDepthMax || !remove_contents(below.get(), device, depth + 1) ||
        (::unlinkat(directory, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT)) {
      complete = false;
    }
  }
  ::closedir(entries);
  return complete;
}

constexpr const char* kSharedMemory = "/dev/shm";

std::string memory_dir_name(const std::string& run_name) {
  return our_directory_name() + "-" + run_name;
}

// The run's files of guest RAM. Its name holds the run's, which is locked by whoever removes it.
bool remove_memory_dir(const std::string& run_name) {
  const base::UniqueFd parent(::open(kSharedMemory, kDirectoryFlags & ~O_NOFOLLOW));
  const std::string name = memory_dir_name(run_name);
  const base::UniqueFd directory(::openat(parent.get(), name.c_str(), kDirectoryFlags));
  if (!directory.valid()) return true;  // most runs have none
  struct stat info {};
  if (!is_private_directory(directory.get()) || ::fstat(directory.get(), &info) != 0) return true;  // not ours
  constexpr int kNoOwnerFile = 1;  // a depth: nothing in it is spared
  return remove_contents(directory.get(), info.st_dev, kNoOwnerFile) &&
         ::unlinkat(parent.get(), name.c_str(), AT_REMOVEDIR) == 0;
}

bool remove_run(int parent, const std::string& name, int directory) {
  struct stat info {};
  if (::fstat(directory, &info) != 0 || !remove_memory_dir(name)) return false;
  // A process that is just dying may still have made a file.
  bool complete = false;
  for (int i = 0; i < 3 && !complete; ++i) complete = remove_contents(directory, info.st_dev, 0);
  if (!complete) return false;
  if (::unlinkat(directory, kOwnerFile, 0) != 0 && errno != ENOENT) return false;
  return ::unlinkat(parent, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT;
}

base::Result<base::UniqueFd> open_our_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return base::fail_errno("can't create " + path, errno);
  base::UniqueFd directory(::open(path.c_str(), kDirectoryFlags));
  if (!directory.valid()) return base::fail_errno("can't open " + path, errno);
  if (!is_private_directory(directory.get())) {
    return base::fail(base::ErrorKind::environment,
                      path + " is not a directory of ours with mode 0700; remove it or set MIGSOAK_RUN_BASE");
  }
  return directory;
}

}  // namespace

base::Result<void> check_socket_path(const std::string& path) {
  if (path.size() <= kSocketPathBytesMax) return {};
  return base::fail(base::ErrorKind::bad_input,
                    "socket path " + base::printable(path) + " has " + std::to_string(path.size()) +
                        " bytes, the kernel takes " + std::to_string(kSocketPathBytesMax) +
                        ": set MIGSOAK_RUN_BASE to a shorter directory or use shorter names");
}

base::Result<std::unique_ptr<RunDir>> RunDir::create(const std::string& run_id) {
  const std::string ours = base_directory() + "/" + our_directory_name();
  constexpr int kTries = 20;  // a name may be taken, and another run's end may remove our directory's parent
  int last_errno = EEXIST;
  for (int i = 0; i < kTries; ++i) {
    MIGSOAK_ASSIGN(const base::UniqueFd parent, open_our_directory(ours), "run directory");
    const std::string name = random_name();
    if (name.empty()) return base::fail_errno("getrandom", errno);
    if (::mkdirat(parent.get(), name.c_str(), 0700) != 0) {
      last_errno = errno;
      if (last_errno == EEXIST || last_errno == ENOENT) continue;
      break;
    }
    std::unique_ptr<RunDir> run_dir(new RunDir);
    const std::string path = ours + "/" + name;
    const base::UniqueFd directory(::openat(parent.get(), name.c_str(), kDirectoryFlags));
    run_dir->lock_.reset(
        ::openat(directory.get(), kOwnerFile, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    // Locked before it says anything: whoever finds a valid and unlocked owner file has found a dead run.
    if (!run_dir->lock_.valid() || ::flock(run_dir->lock_.get(), LOCK_EX | LOCK_NB) != 0) {
      return base::fail_errno("can't lock " + path + "/" + kOwnerFile, errno);
    }
    const base::Result<ProcStat> self = read_stat(::getpid());
    const std::string text = std::string(kOwnerMagic) + "\nrun_id " + base::printable(run_id) + "\npid " +
                             std::to_string(::getpid()) + "\nstart_ticks " +
                             std::to_string(self ? self->start_ticks : 1) + "\n";
    if (::write(run_dir->lock_.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
      return base::fail_errno("can't write " + path + "/" + kOwnerFile, errno);
    }
    run_dir->path_ = path;
    return run_dir;
  }
  return base::fail_errno("can't create a run directory in " + ours, last_errno);
}

base::Result<std::string> RunDir::memory_dir(std::uint64_t bytes) {
  struct statfs kind {};
  struct statvfs room {};
  const bool fits = ::statfs(kSharedMemory, &kind) == 0 && kind.f_type == TMPFS_MAGIC &&
                    ::statvfs(kSharedMemory, &room) == 0 &&
                    static_cast<std::uint64_t>(room.f_bavail) * room.f_frsize >= bytes;
  if (!fits) return path_;
  const std::string path = std::string(kSharedMemory) + "/" + memory_dir_name(path_.substr(path_.rfind('/') + 1));
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return base::fail_errno("can't create " + path, errno);
  const base::UniqueFd directory(::open(path.c_str(), kDirectoryFlags));
  if (!directory.valid() || !is_private_directory(directory.get())) {
    return base::fail(base::ErrorKind::environment, path + " is not a directory of ours with mode 0700; remove it");
  }
  return path;
}

RunDir::~RunDir() {
  if (path_.empty()) return;
  if (auto removed = remove_run_dir(path_); !removed) spdlog::warn("{}", removed.error().describe());
  const std::string parent = path_.substr(0, path_.rfind('/'));
  ::rmdir(parent.c_str());  // when it was the last run; fails otherwise
}

std::vector<std::string> RunDir::remove_leftovers() {
  std::vector<std::string> removed;
  const std::string ours = base_directory() + "/" + our_directory_name();
  const base::UniqueFd parent(::open(ours.c_str(), kDirectoryFlags));
  if (!parent.valid() || !is_private_directory(parent.get())) return removed;
  DIR* entries = ::fdopendir(::fcntl(parent.get(), F_DUPFD_CLOEXEC, 3));
  if (entries == nullptr) return removed;
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(entries)) {
    if (is_run_name(entry->d_name)) names.emplace_back(entry->d_name);
  }
  ::closedir(entries);
  for (const std::string& name : names) {
    const base::UniqueFd directory(::openat(parent.get(), name.c_str(), kDirectoryFlags));
    if (!directory.valid() || !is_private_directory(directory.get())) continue;
    const base::UniqueFd owner = open_owner(directory.get());
    if (!owner.valid() || ::flock(owner.get(), LOCK_EX | LOCK_NB) != 0) continue;
    if (remove_run(parent.get(), name, directory.get())) removed.push_back(ours + "/" + name);
  }
  return removed;
}

base::Result<void> remove_run_dir(const std::string& path) {
  const auto refuse = [&path](const std::string& why) {
    return base::fail(base::ErrorKind::environment, "not removing " + base::printable(path) + ": " + why);
  };
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos || slash == 0 || path.front() != '/') return refuse("not an absolute path");
  const std::string parent_path = path.substr(0, slash);
  const std::string name = path.substr(slash + 1);
  if (!is_run_name(name)) return refuse("not the name of a run directory");
  if (parent_path.substr(parent_path.rfind('/') + 1) != our_directory_name()) return refuse("not in our directory");
  const base::UniqueFd parent(::open(parent_path.c_str(), kDirectoryFlags));
  if (!parent.valid() && errno == ENOENT) return {};
  if (!parent.valid() || !is_private_directory(parent.get())) return refuse("its parent is not ours");
  const base::UniqueFd directory(::openat(parent.get(), name.c_str(), kDirectoryFlags));
  if (!directory.valid() && errno == ENOENT) return {};
  if (!directory.valid() || !is_private_directory(directory.get())) return refuse("not a directory of ours");
  if (!open_owner(directory.get()).valid()) return refuse("it has no owner file");
  if (!remove_run(parent.get(), name, directory.get())) return base::fail_errno("can't remove " + path, errno);
  return {};
}

}  // namespace migsoak::proc
