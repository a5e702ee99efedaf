#include "proc/proc_fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <utility>

#include "base/text.h"
#include "base/unique_fd.h"
#include "proc/proc_text.h"

namespace migsoak::proc {

namespace {

constexpr std::size_t kLinkBytesMax = 4096;

base::UniqueFd open_process(pid_t pid) {
  return base::UniqueFd(::open(("/proc/" + std::to_string(pid)).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

Directory open_below(int process, const char* name) {
  const int fd = ::openat(process, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return {};
  Directory directory(::fdopendir(fd));
  if (!directory) ::close(fd);
  return directory;
}

// "socket:[123]" -> 123
std::uint64_t inode_of_link(std::string_view link) {
  const std::size_t open = link.find(":[");
  if (open == std::string_view::npos || link.back() != ']') return 0;
  return number_or<std::uint64_t>(link.substr(open + 2, link.size() - open - 3), 0);
}

// proc(5): only links of the kinds "type:[inode]" carry the inode in their text.
bool has_inode(const std::string& kind) {
  return kind == "socket" || kind == "pipe";
}

// A file system may hold any name: what a path looks like is not what it is.
std::string kind_of_node(int process, const std::string& link_path) {
  struct stat info {};
  if (::fstatat(process, link_path.c_str(), &info, 0) != 0) return "other";
  if (S_ISREG(info.st_mode)) return "regular";
  if (S_ISDIR(info.st_mode)) return "directory";
  if (S_ISCHR(info.st_mode)) return "chardev";
  if (S_ISBLK(info.st_mode)) return "blockdev";
  if (S_ISFIFO(info.st_mode)) return "pipe";
  return "other";
}

// Kinds of anonymous inodes as the kernel names them (anon_inode_getfd() callers).
std::string anonymous_kind(std::string_view name) {
  if (!name.empty() && name.front() == '[' && name.back() == ']') name = name.substr(1, name.size() - 2);
  static constexpr std::array<std::pair<std::string_view, const char*>, 9> kNames{{{"eventfd", "eventfd"},
                                                                                   {"eventpoll", "epoll"},
                                                                                   {"io_uring", "io_uring"},
                                                                                   {"timerfd", "timerfd"},
                                                                                   {"signalfd", "signalfd"},
                                                                                   {"userfaultfd", "userfaultfd"},
                                                                                   {"inotify", "inotify"},
                                                                                   {"pidfd", "pidfd"},
                                                                                   {"vfio-device", "vfio"}}};
  for (const auto& [known, kind] : kNames) {
    if (name == known) return kind;
  }
  if (name.rfind("kvm", 0) == 0) return "kvm";
  if (name.rfind("vfio", 0) == 0) return "vfio";
  if (name.rfind("userfaultfd", 0) == 0) return "userfaultfd";
  return "other";
}

}  // namespace

std::string fd_kind_of(std::string_view link) {
  const auto starts = [link](std::string_view prefix) { return link.rfind(prefix, 0) == 0; };
  if (starts("socket:[")) return "socket";
  if (starts("pipe:[")) return "pipe";
  if (starts("anon_inode:")) return anonymous_kind(link.substr(std::string_view("anon_inode:").size()));
  if (starts("/memfd:") || starts("memfd:")) return "memfd";
  if (starts("pidfd:[")) return "pidfd";
  if (link == "/dev/null") return "null";
  if (link == "/dev/kvm") return "kvm";
  if (link == "/dev/net/tun") return "tun";
  if (starts("/dev/vfio/")) return "vfio";
  if (starts("/dev/userfaultfd")) return "userfaultfd";
  constexpr std::string_view kDeleted = " (deleted)";
  if (starts("/") && link.size() > kDeleted.size() && link.substr(link.size() - kDeleted.size()) == kDeleted) {
    return "deleted";
  }
  if (starts("/dev/") && !starts("/dev/shm/") && !starts("/dev/hugepages/")) return "chardev";
  return starts("/") ? "regular" : "other";
}

base::Result<std::vector<FdEntry>> read_fds(pid_t pid) {
  const base::UniqueFd process = open_process(pid);
  Directory directory = process.valid() ? open_below(process.get(), "fd") : Directory();
  if (!directory) return process_gone(pid, "fd", errno);
  std::vector<FdEntry> fds;
  char link[kLinkBytesMax];
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) break;
    if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
    const ssize_t bytes = ::readlinkat(::dirfd(directory.get()), entry->d_name, link, sizeof link);
    if (bytes < 0) {
      if (errno == ENOENT) continue;  // closed since the directory was read
      return process_gone(pid, "fd", errno);
    }
    const std::string_view text(link, static_cast<std::size_t>(bytes));
    FdEntry fd;
    fd.fd = static_cast<int>(std::strtol(entry->d_name, nullptr, 10));
    fd.kind = fd_kind_of(text);
    if (fd.kind == "regular" || fd.kind == "chardev") {
      fd.kind = kind_of_node(::dirfd(directory.get()), entry->d_name);
    }
    if (has_inode(fd.kind)) fd.inode = inode_of_link(text);
    fd.target = base::printable(text);
    fds.push_back(std::move(fd));
  }
  // getdents(2) on the directory of a process that just died reports an empty one, not an error.
  if (errno != 0 || (fds.empty() && !read_stat(pid))) return process_gone(pid, "fd", errno != 0 ? errno : ESRCH);
  if (fds.empty()) {
    const base::Result<ProcStat> stat = read_stat(pid);
    if (!stat || stat->state == 'Z' || stat->state == 'X') return process_gone(pid, "fd", ESRCH);
  }
  std::sort(fds.begin(), fds.end(), [](const FdEntry& a, const FdEntry& b) { return a.fd < b.fd; });
  return fds;
}

base::Result<int> count_fds(pid_t pid) {
  const base::UniqueFd process = open_process(pid);
  if (!process.valid()) return process_gone(pid, "fd", errno);
  struct stat info {};
  if (::fstatat(process.get(), "fd", &info, 0) != 0) return process_gone(pid, "fd", errno);
  // Since Linux 6.2 the size is the number of open descriptors (proc(5)); 0 before.
  if (info.st_size > 0) return static_cast<int>(info.st_size);
  const Directory directory = open_below(process.get(), "fd");
  if (!directory) return process_gone(pid, "fd", errno);
  int count = 0;
  errno = 0;
  while (const dirent* entry = ::readdir(directory.get())) {
    if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9') ++count;
  }
  if (errno != 0) return process_gone(pid, "fd", errno);
  return count;
}

std::vector<pid_t> children_of(pid_t pid) {
  std::vector<pid_t> children;
  const base::UniqueFd process = open_process(pid);
  if (!process.valid()) return children;
  const Directory tasks = open_below(process.get(), "task");
  if (!tasks) return children;
  while (const dirent* entry = ::readdir(tasks.get())) {
    if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
    const base::Result<std::string> list =
        read_at(::dirfd(tasks.get()), std::string(entry->d_name) + "/children", kProcTextBytesMax);
    if (!list) continue;
    for (const std::string& word : base::split(*list, ' ')) {
      const pid_t child = number_or<pid_t>(word, 0);
      if (child > 0) children.push_back(child);
    }
  }
  return children;
}

std::string command_of(pid_t pid) {
  const base::UniqueFd process = open_process(pid);
  if (!process.valid()) return "?";
  if (const base::Result<std::string> line = read_at(process.get(), "cmdline", 4096); line && !line->empty()) {
    const std::string name = line->substr(0, line->find('\0'));
    const std::size_t slash = name.rfind('/');
    const std::string last = slash == std::string::npos ? name : name.substr(slash + 1);
    if (!last.empty()) return base::printable(last, 100);
  }
  const base::Result<ProcStat> stat = read_stat(pid);
  return stat ? "[" + base::printable(stat->comm, 100) + "]" : "?";
}

base::Result<std::int64_t> read_file_nr() {
  MIGSOAK_ASSIGN(const std::string text, read_at(AT_FDCWD, "/proc/sys/fs/file-nr", 4096));
  const std::int64_t count = number_or<std::int64_t>(text.substr(0, text.find_first_of("\t ")), -1);
  if (count < 0) return base::fail(base::ErrorKind::environment, "can't parse /proc/sys/fs/file-nr");
  return count;
}

}  // namespace migsoak::proc
