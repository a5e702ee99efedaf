// fds: the descriptor ledger.
//
// A descriptor is known by its number and by what it refers to. Where the kernel tells (sockets, pipes, files, memfds
// by inode; eventfds by the eventfd-id of fdinfo, proc(5)), a number that was closed and reused between two looks is a
// death and a birth. Eventfd ids are handed out lowest-free, and other anonymous inodes have no id at all: there a
// reuse of the same number for the same kind may go unseen, which changes no count.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

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

void update_ledger(const Subject& subject, ProbeState::Impl& state, const Look& look, record::Observation& into) {
  const std::string path = fmt::format("/proc/{}", subject.pid);
  const base::UniqueFd proc_dir(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  std::map<int, std::uint64_t>& known = state.ledger[subject.process_id];
  std::map<int, std::uint64_t> now;
  for (const proc::FdEntry& entry : state.fds[subject.process_id]) {
    const std::uint64_t identity = identity_of(proc_dir.get(), entry);
    now.emplace(entry.fd, identity);
    const auto before = known.find(entry.fd);
    if (before != known.end() && before->second == identity) continue;
    into.births.push_back({subject.process_id, entry.fd, entry.kind, detail_of(look, entry)});
  }
  for (const auto& [fd, identity] : known) {
    const auto after = now.find(fd);
    if (after == now.end() || after->second != identity) into.deaths.push_back({subject.process_id, fd});
  }
  known = std::move(now);
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
    into.events.push_back(
        make_event(scene, record::event_kind::kHarnessError, "harness", 0, "probe fds: " + table.error().describe()));
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
  std::erase_if(impl.ledger, [&](const auto& entry) { return present.count(entry.first) == 0; });
}

}  // namespace migsoak::probes
