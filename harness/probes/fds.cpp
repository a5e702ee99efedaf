// fds: the descriptor ledger.
//
// A descriptor is known by its number and by what it refers to. Where the kernel tells (sockets, pipes, files, memfds
// by inode; eventfds by the eventfd-id of fdinfo, proc(5)), a number that was closed and reused between two looks is a
// death and a birth. Eventfd ids are handed out lowest-free, and other anonymous inodes have no id at all: there a
// reuse of the same number for the same kind may go unseen, which changes no count.
//
// Over an exec the ledger goes on (adopt_generation): the new process's births list all that it holds, and the detail
// of those that its predecessor had handed down begins with "kept over exec". A new image opens its descriptors in the
// same order as the one before it, so equal numbers of equal kind prove nothing there. Proof is an inode that only the
// very same open file has (sockets, pipes, memfds, deleted files), or the absence of close-on-exec, which a QEMU sets
// on everything it opens, and sets again on what it is meant to take over (migration/cpr-exec.c).
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>

#include "base/text.h"
#include "base/unique_fd.h"
#include "probes/state.h"

namespace migsoak::probes {

namespace {

constexpr std::size_t kDetailBytesMax = 120;

std::uint64_t eventfd_id(int proc_dir, int fd) {
  const std::string path = fmt::format("fdinfo/{}", fd);
  const base::UniqueFd file(::openat(proc_dir, path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return 0;
  char buffer[512];
  const ssize_t size = ::read(file.get(), buffer, sizeof buffer - 1);
  if (size <= 0) return 0;
  const std::string_view text(buffer, static_cast<std::size_t>(size));
  constexpr std::string_view key = "eventfd-id:";
  const std::size_t at = text.find(key);
  if (at == std::string_view::npos) return 0;  // before Linux 5.2
  buffer[size] = '\0';
  // +1: ids start at 0, and 0 stands for "not told".
  return std::strtoull(buffer + at + key.size(), nullptr, 10) + 1;
}

bool is_file_kind(const std::string& kind) {
  return kind == "memfd" || kind == "regular" || kind == "deleted" || kind == "directory";
}

std::uint64_t identity_of(int proc_dir, const proc::FdEntry& entry) {
  std::string text = entry.target;  // of sockets and pipes it holds the inode
  if (entry.kind == "eventfd") {
    text += fmt::format("\n{}", eventfd_id(proc_dir, entry.fd));
  } else if (is_file_kind(entry.kind)) {
    struct stat info {};
    const std::string path = fmt::format("fd/{}", entry.fd);
    if (::fstatat(proc_dir, path.c_str(), &info, 0) == 0) text += fmt::format("\n{}:{}", info.st_dev, info.st_ino);
  }
  return base::hash64(text);
}

// "flags:" of fdinfo holds the open flags in octal, close-on-exec among them (proc(5)).
bool is_close_on_exec(int proc_dir, int fd) {
  const std::string path = fmt::format("fdinfo/{}", fd);
  const base::UniqueFd file(::openat(proc_dir, path.c_str(), O_RDONLY | O_CLOEXEC));
  char buffer[512];
  const ssize_t size = file.valid() ? ::read(file.get(), buffer, sizeof buffer - 1) : 0;
  if (size <= 0) return true;  // closed meanwhile
  buffer[size] = '\0';
  const char* flags = std::strstr(buffer, "flags:");
  return flags == nullptr || (std::strtoul(flags + std::strlen("flags:"), nullptr, 8) & O_CLOEXEC) != 0;
}

// Is the inode made anew by each open? Then it is the same open file, or a duplicate of it.
bool has_inode_of_its_own(const std::string& kind) {
  return kind == "unix" || kind == "tcp" || kind == "udp" || kind == "netlink" || kind == "socket" || kind == "pipe" ||
         kind == "memfd" || kind == "deleted";
}

using Inodes = std::set<std::pair<dev_t, ino_t>>;

// Files that the process has mapped: "start-end perms offset major:minor inode path" (proc(5), /proc/PID/maps).
Inodes mapped_files(pid_t pid) {
  Inodes mapped;
  std::ifstream maps(fmt::format("/proc/{}/maps", pid));
  std::string line;
  while (std::getline(maps, line)) {
    std::istringstream in(line);
    std::string range, permissions, offset;
    unsigned int device_major = 0, device_minor = 0;
    char colon = 0;
    unsigned long inode = 0;
    in >> range >> permissions >> offset >> std::hex >> device_major >> colon >> device_minor >> std::dec >> inode;
    if (in && inode != 0) mapped.emplace(makedev(device_major, device_minor), inode);
  }
  return mapped;
}

using Owners = std::map<std::uint64_t, std::string>;  // inode of a unix socket -> subject that holds it

std::string unix_detail(const std::map<std::uint64_t, proc::UnixSocket>& table, const Owners& owners,
                        std::uint64_t inode) {
  const auto socket = table.find(inode);
  if (socket == table.end()) return "";
  const std::string& path = socket->second.path;
  const std::string file = path.substr(path.rfind('/') + 1);
  if (socket->second.listening) return "listening " + file;
  if (socket->second.peer_inode == 0) return "peer=gone";
  const auto owner = owners.find(socket->second.peer_inode);
  return "peer=" + (owner == owners.end() ? std::string("other") : owner->second);
}

struct Look {
  const std::map<std::uint64_t, proc::UnixSocket>& unix_sockets;
  const std::map<std::uint64_t, std::string>& tcp_sockets;
  const Owners& owners;
};

std::string detail_of(const Look& look, const proc::FdEntry& entry) {
  std::string detail = entry.target;
  if (entry.kind == "unix") {
    detail = unix_detail(look.unix_sockets, look.owners, entry.inode);
  } else if (entry.kind == "tcp") {
    const auto tcp = look.tcp_sockets.find(entry.inode);
    if (tcp != look.tcp_sockets.end()) detail = tcp->second;
  }
  return base::printable(detail, kDetailBytesMax);
}

// What the first look at a new generation knows of a descriptor.
class Inheritance {
 public:
  // held: what the predecessor had; null for a process that no exec made.
  Inheritance(const Subject& subject, int proc_dir, const ProbeState::Impl::Descriptors* held)
      : pid_(subject.pid), proc_dir_(proc_dir), held_(held) {}

  // The predecessor's entry when it was handed down.
  const ProbeState::Impl::Known* find(const proc::FdEntry& entry, std::uint64_t identity) const {
    if (held_ == nullptr) return nullptr;
    const auto before = held_->find(entry.fd);
    if (before == held_->end() || before->second.identity != identity) return nullptr;
    if (has_inode_of_its_own(entry.kind)) return &before->second;
    return before->second.close_on_exec || is_close_on_exec(proc_dir_, entry.fd) ? nullptr : &before->second;
  }

  // "kept over exec since iteration 3, not mapped: "; empty for what was opened by this image.
  std::string words(const proc::FdEntry& entry, std::uint64_t identity) {
    if (held_ == nullptr) return "";
    const ProbeState::Impl::Known* before = find(entry, identity);
    const bool open_end = !is_close_on_exec(proc_dir_, entry.fd);  // the next exec will hand it down, named or not
    const std::string stays = open_end && entry.fd > STDERR_FILENO ? record::kNotCloseOnExec : "";
    if (before == nullptr) return stays.empty() ? "" : stays + ": ";
    return fmt::format("{} since iteration {}{}{}{}: ", record::kKeptOverExec, before->since_iteration, use_of(entry),
                       stays.empty() ? "" : ", ", stays);
  }

 private:
  const char* use_of(const proc::FdEntry& entry) {
    if (entry.kind != "memfd" && entry.kind != "deleted") return "";  // nothing tells whether the others are used
    struct stat info {};
    const std::string path = fmt::format("fd/{}", entry.fd);
    if (::fstatat(proc_dir_, path.c_str(), &info, 0) != 0) return "";
    if (!mapped_) mapped_ = mapped_files(pid_);
    return mapped_->count({info.st_dev, info.st_ino}) != 0 ? ", mapped" : ", not mapped";
  }

  pid_t pid_;
  int proc_dir_;
  const ProbeState::Impl::Descriptors* held_;
  std::optional<Inodes> mapped_;
};

void update_ledger(const Subject& subject, ProbeState::Impl& state, const Look& look, record::Observation& into) {
  const std::string path = fmt::format("/proc/{}", subject.pid);
  const base::UniqueFd proc_dir(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const auto before_exec = state.before_exec.find(subject.process_id);
  Inheritance inheritance(subject, proc_dir.get(),
                          before_exec == state.before_exec.end() ? nullptr : &before_exec->second);
  ProbeState::Impl::Descriptors& known = state.ledger[subject.process_id];
  ProbeState::Impl::Descriptors now;
  for (const proc::FdEntry& entry : state.fds[subject.process_id]) {
    const std::uint64_t identity = identity_of(proc_dir.get(), entry);
    const auto before = known.find(entry.fd);
    if (before != known.end() && before->second.identity == identity) {
      now.emplace(entry.fd, before->second);
      continue;
    }
    const ProbeState::Impl::Known* kept = inheritance.find(entry, identity);
    if (kept != nullptr) {
      now.emplace(entry.fd, *kept);
    } else {
      const bool closes = has_inode_of_its_own(entry.kind) || is_close_on_exec(proc_dir.get(), entry.fd);
      now.emplace(entry.fd, ProbeState::Impl::Known{identity, into.iteration, closes});
    }
    into.births.push_back(
        {subject.process_id, entry.fd, entry.kind, inheritance.words(entry, identity) + detail_of(look, entry)});
  }
  for (const auto& [fd, entry] : known) {
    const auto after = now.find(fd);
    if (after == now.end() || after->second.identity != entry.identity) into.deaths.push_back({subject.process_id, fd});
  }
  known = std::move(now);
  if (before_exec != state.before_exec.end()) state.before_exec.erase(before_exec);
}

void add_counts(const Subject& subject, ProbeState::Impl& state, record::Observation& into) {
  std::map<std::string, int> counts;
  std::set<std::string>& kinds = state.fd_kinds[subject.name];
  for (const std::string& kind : kinds) counts[kind] = 0;
  for (const proc::FdEntry& entry : state.fds[subject.process_id]) {
    ++counts[entry.kind];
    kinds.insert(entry.kind);
  }
  add_sample(into, subject, "fd.total", static_cast<double>(state.fds[subject.process_id].size()));
  for (const auto& [kind, count] : counts) add_sample(into, subject, "fd." + kind, count);
}

// Shared memory that a subject has open is ours: files.cpp asks later whether it stayed.
void remember_shared_memory(const Subject& subject, ProbeState::Impl& state) {
  constexpr std::string_view prefix = "/dev/shm/";
  for (const proc::FdEntry& entry : state.fds[subject.process_id]) {
    if (entry.kind != "regular" || entry.target.rfind(prefix, 0) != 0) continue;
    struct stat info {};
    if (::lstat(entry.target.c_str(), &info) != 0) continue;
    state.shared_memory[entry.target] = {info.st_ino, subject.name, subject.process_id};
  }
}

// A descriptor that exists only because we are looking (the directories being listed) is not the subject's.
bool is_our_look(const Subject& subject, const proc::FdEntry& entry) {
  if (subject.pid != ::getpid() || entry.kind != "directory") return false;
  const std::string own = fmt::format("/proc/{}", subject.pid);
  return entry.target == own || entry.target == own + "/fd";
}

// Tells unix sockets from tcp and the rest; the tables of tcp are read only when something is left to name.
std::map<std::uint64_t, std::string> name_sockets(ProbeState::Impl& state) {
  bool unnamed = false;
  for (auto& [process_id, fds] : state.fds) {
    proc::refine_socket_kinds(fds, state.unix_sockets, {});
    for (const proc::FdEntry& entry : fds) unnamed = unnamed || entry.kind == "socket";
  }
  if (!unnamed) return {};
  std::map<std::uint64_t, std::string> tcp_sockets = proc::read_tcp_sockets();
  for (auto& [process_id, fds] : state.fds) proc::refine_socket_kinds(fds, state.unix_sockets, tcp_sockets);
  return tcp_sockets;
}

}  // namespace

void run_fds(Scene& scene, ProbeState& state, record::Observation& into) {
  ProbeState::Impl& impl = state.impl();
  Owners owners;
  for (const Subject& subject : scene.subjects) {
    if (has_vanished(state, subject)) continue;
    auto fds = proc::read_fds(subject.pid);
    if (!fds) {
      note_vanished(scene, state, subject, fds.error().message, into);
      continue;
    }
    std::vector<proc::FdEntry>& kept = impl.fds[subject.process_id];
    for (proc::FdEntry& entry : *fds) {
      if (is_our_look(subject, entry)) continue;
      kept.push_back(std::move(entry));
    }
  }
  if (auto table = proc::read_unix_sockets()) {
    impl.unix_sockets = std::move(*table);
  } else {
    note_unread(scene, "sockets", "host", 0, "probe fds: " + table.error().describe(), into);
  }
  const auto tcp_sockets = name_sockets(impl);

  for (const Subject& subject : scene.subjects) {
    for (const proc::FdEntry& entry : impl.fds[subject.process_id]) {
      if (entry.kind == "unix") owners.emplace(entry.inode, subject.name);
    }
  }
  const Look look{impl.unix_sockets, tcp_sockets, owners};
  std::set<std::int64_t> present;
  for (const Subject& subject : scene.subjects) {
    present.insert(subject.process_id);
    if (has_vanished(state, subject)) continue;
    update_ledger(subject, impl, look, into);
    add_counts(subject, impl, into);
    remember_shared_memory(subject, impl);
  }
  // The descriptors of a process that ended died with it; its ProcessEnd says so.
  const auto is_absent = [&](const auto& entry) { return present.count(entry.first) == 0; };
  std::erase_if(impl.ledger, is_absent);
  std::erase_if(impl.before_exec, is_absent);
}

}  // namespace migsoak::probes
