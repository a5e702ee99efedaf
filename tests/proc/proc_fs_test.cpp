#include "proc/proc_fs.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/unique_fd.h"
#include "proc/child_process.h"

namespace migsoak::proc {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr pid_t kNoSuchProcess = 0x3fffffff;

TEST(FdKind, NamesWhatTheLinkMeans) {
  const std::map<std::string, std::string> expected{{"socket:[12]", "socket"},
                                                    {"pipe:[12]", "pipe"},
                                                    {"anon_inode:[eventfd]", "eventfd"},
                                                    {"anon_inode:[eventpoll]", "epoll"},
                                                    {"anon_inode:[io_uring]", "io_uring"},
                                                    {"anon_inode:[timerfd]", "timerfd"},
                                                    {"anon_inode:[signalfd]", "signalfd"},
                                                    {"anon_inode:[userfaultfd]", "userfaultfd"},
                                                    {"anon_inode:[pidfd]", "pidfd"},
                                                    {"pidfd:[7]", "pidfd"},
                                                    {"anon_inode:inotify", "inotify"},
                                                    {"anon_inode:kvm-vm", "kvm"},
                                                    {"anon_inode:kvm-vcpu:0", "kvm"},
                                                    {"/dev/kvm", "kvm"},
                                                    {"/dev/net/tun", "tun"},
                                                    {"/dev/null", "null"},
                                                    {"/dev/vfio/12", "vfio"},
                                                    {"/dev/zero", "chardev"},
                                                    {"/memfd:ram (deleted)", "memfd"},
                                                    {"/tmp/file", "regular"},
                                                    {"/tmp/file (deleted)", "deleted"},
                                                    {"/dev/shm/x", "regular"},
                                                    {"anon_inode:[something-new]", "other"},
                                                    {"", "other"},
                                                    {"socket:", "other"}};
  for (const auto& [link, kind] : expected) EXPECT_EQ(fd_kind_of(link), kind) << link;
}

TEST(ReadFds, SeesOurOwn) {
  const base::UniqueFd event(::eventfd(0, EFD_CLOEXEC));
  const base::UniqueFd poll(::epoll_create1(EPOLL_CLOEXEC));
  const base::UniqueFd memory(::memfd_create("guest ram", MFD_CLOEXEC));
  const base::UniqueFd directory(::open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const base::UniqueFd zero(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  const base::UniqueFd left(pair[0]);
  const base::UniqueFd right(pair[1]);
  const base::UniqueFd tcp(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::listen(tcp.get(), 1), 0);

  auto fds = read_fds(::getpid());
  ASSERT_TRUE(fds) << fds.error().describe();
  const auto unix_sockets = read_unix_sockets();
  ASSERT_TRUE(unix_sockets) << unix_sockets.error().describe();
  const auto tcp_sockets = read_tcp_sockets();
  refine_socket_kinds(*fds, *unix_sockets, tcp_sockets);
  const auto entry = [&](const base::UniqueFd& fd) {
    const auto it = std::find_if(fds->begin(), fds->end(), [&](const FdEntry& e) { return e.fd == fd.get(); });
    return it == fds->end() ? FdEntry{} : *it;
  };
  EXPECT_EQ(entry(event).kind, "eventfd");
  EXPECT_EQ(entry(poll).kind, "epoll");
  EXPECT_EQ(entry(memory).kind, "memfd");
  EXPECT_THAT(entry(memory).target, HasSubstr("guest ram"));
  EXPECT_EQ(entry(directory).kind, "directory");
  EXPECT_EQ(entry(zero).kind, "chardev");
  EXPECT_EQ(entry(left).kind, "unix");
  EXPECT_EQ(entry(tcp).kind, "tcp");
  EXPECT_THAT(tcp_sockets.at(entry(tcp).inode), HasSubstr(" LISTEN"));
  EXPECT_EQ(unix_sockets->at(entry(left).inode).peer_inode, entry(right).inode);
  EXPECT_EQ(unix_sockets->at(entry(right).inode).peer_inode, entry(left).inode);
}

TEST(ReadFds, CountIsTheSizeOfTheList) {
  // Neither is held open by ourselves while it is taken of another process.
  Reactor reactor;
  auto containment = Containment::start({"count", "", ""});
  ASSERT_TRUE(containment);
  SpawnSpec spec;
  spec.name = "sleep";
  spec.argv = {"sleep", "100"};
  auto child = ChildProcess::spawn(reactor, **containment, spec);
  ASSERT_TRUE(child);
  const pid_t pid = (*child)->pid();
  // Past its start, when it opens libraries and locales.
  base::Result<std::vector<FdEntry>> fds;
  const auto at_rest = [pid, &fds] {
    fds = read_fds(pid);
    const auto counted = count_fds(pid);
    return command_of(pid) == "sleep" && fds && counted && fds->size() == 3 && *counted == 3;
  };
  EXPECT_EQ(reactor.run_until(at_rest, base::Deadline::in(std::chrono::seconds(30))), Wait::ready);
  ASSERT_TRUE(fds);
  ASSERT_EQ(fds->size(), 3U);
  EXPECT_EQ(fds->at(0).kind, "null");
  EXPECT_EQ(fds->at(1).kind, "pipe");
  EXPECT_EQ(fds->at(1).inode, fds->at(2).inode);
}

TEST(UnixSockets, PathsListenersAndHangups) {
  const base::UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = ::testing::TempDir() + "/diag-" + std::to_string(::getpid());
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ::unlink(path.c_str());
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  base::UniqueFd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  base::UniqueFd server(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const auto inode = [](int fd) { return std::filesystem::exists("/proc/self/fd/" + std::to_string(fd)) ? fd : -1; };
  ASSERT_GE(inode(server.get()), 0);
  const auto find = [&](const std::vector<FdEntry>& fds, int fd) {
    return std::find_if(fds.begin(), fds.end(), [fd](const FdEntry& e) { return e.fd == fd; })->inode;
  };
  const auto fds = read_fds(::getpid());
  const std::uint64_t listener_inode = find(*fds, listener.get());
  const std::uint64_t server_inode = find(*fds, server.get());
  auto sockets = read_unix_sockets();
  ASSERT_TRUE(sockets);
  EXPECT_TRUE(sockets->at(listener_inode).listening);
  EXPECT_EQ(sockets->at(listener_inode).path, path);
  EXPECT_EQ(sockets->at(server_inode).peer_inode, find(*fds, client.get()));
  EXPECT_FALSE(sockets->at(server_inode).listening);
  client.reset();
  sockets = read_unix_sockets();
  ASSERT_TRUE(sockets);
  EXPECT_EQ(sockets->at(server_inode).peer_inode, 0U);
  ::unlink(path.c_str());
}

TEST(UnixSockets, HostileDumpsAreRefused) {
  EXPECT_THAT(*parse_unix_diag(""), IsEmpty());
  EXPECT_THAT(*parse_unix_diag("short"), IsEmpty());
  nlmsghdr header{};
  header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  for (const std::uint32_t length : {0U, 1U, 15U, 16U, 17U, 0xffffffffU}) {
    header.nlmsg_len = length;
    EXPECT_FALSE(parse_unix_diag(std::string(reinterpret_cast<const char*>(&header), sizeof header))) << length;
  }
}

TEST(TcpTable, AddressesStatesAndNonsense) {
  std::map<std::uint64_t, std::string> sockets;
  parse_tcp_table(
      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
      "   0: 0100007F:115C 0100007F:15B3 01 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 20\n"
      "   1: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 77 1\n"
      "   2: 0100007F:115C 0100007F:15B3 FF 0:0 0:0 0 0 0 78 1\n"
      "   3: nonsense\n"
      "\n"
      "   4: 0100007F:115C 0100007F:15B3 01 0:0 0:0 0 0 0",
      sockets);
  EXPECT_EQ(sockets.size(), 3U);
  EXPECT_THAT(sockets, Contains(Pair(4242, "127.0.0.1:4444->127.0.0.1:5555 ESTABLISHED")));
  EXPECT_THAT(sockets, Contains(Pair(77, "[::1]:22->[::]:0 LISTEN")));
  EXPECT_THAT(sockets, Contains(Pair(78, "127.0.0.1:4444->127.0.0.1:5555 ?")));
}

std::string stat_text(const std::string& comm) {
  return "42 (" + comm +
         ") Z 7 42 42 0 -1 4194560 1 0 0 0 1 1 0 0 20 0 3 0 9876 2359296 200 18446744073709551615 1 1 0 0 0 0 0 0 0 0 "
         "0 "
         "0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 256\n";
}

TEST(ParseStat, ReadsTheFields) {
  const auto stat = parse_stat(stat_text("qemu"));
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->pid, 42);
  EXPECT_EQ(stat->comm, "qemu");
  EXPECT_EQ(stat->state, 'Z');
  EXPECT_EQ(stat->parent, 7);
  EXPECT_EQ(stat->thread_count, 3);
  EXPECT_EQ(stat->start_ticks, 9876);
  EXPECT_EQ(stat->exit_code, 256);
}

TEST(ParseStat, CommMayHoldAnything) {
  for (const std::string comm : {") R 1", "a) S 1 1 (b", "()", "", " ", "((((", "x) R 1 1 1 1 1"}) {
    const auto stat = parse_stat(stat_text(comm));
    ASSERT_TRUE(stat) << comm;
    EXPECT_EQ(stat->comm, comm);
    EXPECT_EQ(stat->state, 'Z');
    EXPECT_EQ(stat->parent, 7);
  }
  EXPECT_EQ(parse_stat(stat_text("a\x1b[0m\n"))->comm, "a\\x1b[0m\\x0a");
}

TEST(ParseStat, AnythingElseIsAnError) {
  const std::string whole = stat_text("qemu");
  for (std::size_t length = 0; length < 60; ++length) EXPECT_FALSE(parse_stat(whole.substr(0, length))) << length;
  EXPECT_FALSE(parse_stat(std::string(100000, '(')));
  EXPECT_FALSE(parse_stat("42 (x) RR 7"));
  EXPECT_FALSE(parse_stat("x (x) R 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"));
  EXPECT_FALSE(parse_stat(std::string(50, '\0')));
}

TEST(ReadStat, KnowsUsAndNotTheDead) {
  const auto stat = read_stat(::getpid());
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->pid, ::getpid());
  EXPECT_EQ(stat->parent, ::getppid());
  EXPECT_GE(age_ms(*stat), 0.0);
  const auto none = read_stat(kNoSuchProcess);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind, base::ErrorKind::subject);
  EXPECT_EQ(read_fds(kNoSuchProcess).error().kind, base::ErrorKind::subject);
  EXPECT_EQ(count_fds(kNoSuchProcess).error().kind, base::ErrorKind::subject);
  EXPECT_EQ(read_memory(kNoSuchProcess).error().kind, base::ErrorKind::subject);
  EXPECT_EQ(read_nofile_limit(kNoSuchProcess).error().kind, base::ErrorKind::subject);
  EXPECT_THAT(children_of(kNoSuchProcess), IsEmpty());
  EXPECT_THAT(capture_stacks(kNoSuchProcess), IsEmpty());
}

constexpr const char* kRollup =
    "55d0-7ffd ---p 00000000 00:00 0    [rollup]\n"
    "Rss:                1000 kB\nPss:                 600 kB\nPss_Dirty:           88 kB\nShared_Clean:       4 kB\n"
    "Anonymous:            88 kB\nAnonHugePages:         0 kB\n";

TEST(ParseMemory, AddsUp) {
  const auto use = parse_memory(kRollup,
                                "5000-7000 r-xp 00000000 fe:01 1 /bin/x\n"
                                "55d000000000-55d000021000 rw-p 00000000 00:00 0                          [heap]\n"
                                "7000-8000 rw-p 00000000 fe:01 1 /tmp/fake [heap]\n"
                                "7f00-7fff rw-p 00000000 00:00 0 [stack]\n");
  ASSERT_TRUE(use);
  EXPECT_EQ(use->rss_bytes, 1000 * 1024);
  EXPECT_EQ(use->pss_bytes, 600 * 1024);
  EXPECT_EQ(use->anonymous_bytes, 88 * 1024);
  EXPECT_EQ(use->heap_bytes, 0x21000);
  EXPECT_EQ(use->mappings, 4);
}

TEST(ParseMemory, HostileTextIsRefusedOrIgnored) {
  EXPECT_FALSE(parse_memory("", ""));
  EXPECT_FALSE(parse_memory("Rss: 1 kB\nPss: 1 kB\n", ""));
  EXPECT_FALSE(parse_memory("Rss: -1 kB\nPss: 1 kB\nAnonymous: 1 kB\n", ""));
  EXPECT_FALSE(parse_memory("Rss: 99999999999999999999 kB\nPss: 1 kB\nAnonymous: 1 kB\n", ""));
  EXPECT_FALSE(parse_memory("Rss: 1 MB\nPss: 1 kB\nAnonymous: 1 kB\n", ""));
  EXPECT_EQ(parse_memory(kRollup, " [heap]\n-[heap] [heap]\n2-1 [heap]\n" + std::string(100000, 'x'))->heap_bytes, 0);
}

TEST(ReadMemory, OfOurselves) {
  const auto use = read_memory(::getpid());
  ASSERT_TRUE(use) << use.error().describe();
  EXPECT_GT(use->rss_bytes, 1 << 20);
  EXPECT_GE(use->rss_bytes, use->anonymous_bytes);
  EXPECT_GT(use->mappings, 10);
}

TEST(ProcFs, TheInnermostPidIsTheLastOfItsNamespaces) {
  EXPECT_EQ(parse_innermost_pid("Name:\tqemu\nNSpid:\t4711\t23\nNSpgid:\t1\t2\n"), 23);
  EXPECT_EQ(parse_innermost_pid("NSpid:\t4711\n"), 4711);
  EXPECT_EQ(parse_innermost_pid("Pid:\t4711\n"), std::nullopt);
  EXPECT_EQ(parse_innermost_pid("NSpid:\tmany\n"), std::nullopt);
  EXPECT_EQ(parse_innermost_pid(""), std::nullopt);
  EXPECT_TRUE(innermost_pid(::getpid()));
  EXPECT_EQ(innermost_pid(kNoSuchProcess), std::nullopt);
}

TEST(NofileLimit, ParsesTheSoftOne) {
  EXPECT_EQ(parse_nofile_limit("Limit   Soft Limit   Hard Limit   Units\nMax open files   48   4096   files\n"), 48);
  EXPECT_EQ(parse_nofile_limit("Max open files"), std::nullopt);
  EXPECT_EQ(parse_nofile_limit("Max open files  unlimited  unlimited files"), std::nullopt);
  EXPECT_EQ(parse_nofile_limit(""), std::nullopt);
  EXPECT_GT(*read_nofile_limit(::getpid()), 0);
}

TEST(FileNr, IsTheMachinesCount) {
  const auto count = read_file_nr();
  ASSERT_TRUE(count);
  EXPECT_GT(*count, 0);
}

TEST(Stacks, ShowKernelAndUserSide) {
  Reactor reactor;
  auto containment = Containment::start({"stacks", "", ""});
  ASSERT_TRUE(containment);
  SpawnSpec spec;
  spec.name = "sleep";
  spec.argv = {"sleep", "100"};
  auto child = ChildProcess::spawn(reactor, **containment, spec);
  ASSERT_TRUE(child);
  const pid_t pid = (*child)->pid();
  // Until it sleeps in the kernel there is no wait channel to be seen.
  reactor.run_until([pid] { return command_of(pid) == "sleep" && read_stat(pid)->state == 'S'; },
                    base::Deadline::in(std::chrono::seconds(30)));
  const auto stacks = capture_stacks(reactor, **containment, pid);
  const std::string key = std::to_string(pid) + " sleep";
  ASSERT_THAT(stacks, Contains(::testing::Key(key)));
  EXPECT_THAT(stacks.at(key), HasSubstr("wchan: "));
  if (stacks.count("user") > 0) {
    EXPECT_THAT(stacks.at("user"), HasSubstr("nanosleep"));
  }
  // It went on after the look, and nothing of the look is left.
  EXPECT_EQ(
      reactor.run_until([pid] { return read_stat(pid)->state == 'S'; }, base::Deadline::in(std::chrono::seconds(30))),
      Wait::ready);
  EXPECT_EQ((*containment)->processes().size(), 1U);
}

TEST(ChildrenOf, ListsThemAndCommandNamesThem) {
  Reactor reactor;
  auto containment = Containment::start({"children", "", ""});
  ASSERT_TRUE(containment);
  SpawnSpec spec;
  spec.name = "shell";
  spec.argv = {"sh", "-c", "sleep 100 & sleep 100 & wait"};
  auto child = ChildProcess::spawn(reactor, **containment, spec);
  ASSERT_TRUE(child);
  const pid_t shell = (*child)->pid();
  EXPECT_THAT(children_of(::getpid()), Contains(shell));
  const auto two_sleeps = [shell] {
    const auto children = children_of(shell);
    return children.size() == 2 && command_of(children[0]) == "sleep" && command_of(children[1]) == "sleep";
  };
  EXPECT_EQ(reactor.run_until(two_sleeps, base::Deadline::in(std::chrono::seconds(30))), Wait::ready);
  EXPECT_EQ(command_of(shell), "sh");
}

}  // namespace
}  // namespace migsoak::proc
