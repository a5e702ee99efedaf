// Readers of /proc. Each has a pure parser (text in, struct out) that unit tests feed with recorded and hostile text.
// A process that vanished while being read is an Error of kind subject; it is never reported half.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace migsoak::proc {

class Reactor;
class Containment;

// One open descriptor, from readlink(/proc/PID/fd/N) and, where the kind needs it, fdinfo.
struct FdEntry {
  int fd = -1;
  // "eventfd" "memfd" "unix" "tcp" "udp" "netlink" "socket" "pipe" "kvm" (/dev/kvm and anon_inode:kvm-*) "tun"
  // "epoll" "io_uring" "timerfd" "signalfd" "userfaultfd" "inotify" "pidfd" "vfio" "regular" "deleted" "directory"
  // "chardev" "blockdev" "null" (/dev/null) "other"
  std::string kind;
  std::string target;       // the link's text, printable, bounded
  std::uint64_t inode = 0;  // of sockets and pipes
};
std::string fd_kind_of(std::string_view link_target);  // pure; sockets come back as "socket"
base::Result<std::vector<FdEntry>> read_fds(pid_t pid);
// Cheap count only: st_size of /proc/PID/fd (Linux >= 6.2), else a directory walk.
base::Result<int> count_fds(pid_t pid);

struct ProcStat {  // proc(5), /proc/PID/stat; comm may hold spaces and parentheses
  pid_t pid = 0;
  std::string comm;
  char state = '?';
  pid_t parent = 0;
  int thread_count = 0;
  std::int64_t start_ticks = 0;
  int exit_code = 0;
};
base::Result<ProcStat> parse_stat(std::string_view text);
base::Result<ProcStat> read_stat(pid_t pid);
double age_ms(const ProcStat& stat);  // since its start, from /proc/uptime and CLK_TCK

struct MemoryUse {
  std::int64_t rss_bytes = 0, pss_bytes = 0, anonymous_bytes = 0;  // smaps_rollup: Rss, Pss, Anonymous
  std::int64_t heap_bytes = 0;  // size of the [heap] mapping (brk); other malloc arenas count as anonymous
  std::int64_t mappings = 0;    // lines of /proc/PID/maps
};
base::Result<MemoryUse> parse_memory(std::string_view smaps_rollup, std::string_view maps);
base::Result<MemoryUse> read_memory(pid_t pid);

std::optional<std::int64_t> parse_nofile_limit(std::string_view limits);  // soft "Max open files"
base::Result<std::int64_t> read_nofile_limit(pid_t pid);

// What a process is called in the innermost PID namespace that it lives in: the last number of NSpid in
// /proc/PID/status.
std::optional<pid_t> parse_innermost_pid(std::string_view status);
std::optional<pid_t> innermost_pid(pid_t pid);

std::vector<pid_t> children_of(pid_t pid);  // /proc/PID/task/*/children; empty when it vanished
std::string command_of(pid_t pid);          // basename of argv[0], or [comm] for a zombie; printable
base::Result<std::int64_t> read_file_nr();  // first field of /proc/sys/fs/file-nr: allocated file handles
// Kernel stacks, wait channels and (with eu-stack on the machine) user stacks: evidence of a hang; bounded text.
// Keys: "<tid> <comm>"; the overload adds "user" from eu-stack (5 s at most).
std::map<std::string, std::string> capture_stacks(pid_t pid);
std::map<std::string, std::string> capture_stacks(Reactor& reactor, Containment& containment, pid_t pid);

// Unix sockets of this network namespace with their peers: sock_diag(7), UNIX_DIAG.
struct UnixSocket {
  std::uint64_t inode = 0, peer_inode = 0;  // peer 0: unconnected, listening or hung up
  std::string path;
  bool listening = false;
};
base::Result<std::map<std::uint64_t, UnixSocket>> read_unix_sockets();
// Inodes of TCP sockets, from /proc/net/tcp and tcp6.
base::Result<std::map<std::uint64_t, UnixSocket>> parse_unix_diag(std::string_view netlink_messages);
// Turns "socket" into "unix", "tcp", … where the inode is known.
void refine_socket_kinds(std::vector<FdEntry>& fds, const std::map<std::uint64_t, UnixSocket>& unix_sockets,
                         const std::map<std::uint64_t, std::string>& tcp_sockets);
void parse_tcp_table(std::string_view table, std::map<std::uint64_t, std::string>& sockets);
std::map<std::uint64_t, std::string> read_tcp_sockets();  // inode -> "127.0.0.1:4444->127.0.0.1:5555 ESTABLISHED"

}  // namespace migsoak::proc
