// Sockets of this network namespace: sock_diag(7) for unix sockets, /proc/net/tcp for TCP.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/deadline.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "proc/proc_fs.h"
#include "proc/proc_text.h"
#include "proc/spawn.h"

namespace migsoak::proc {

namespace {

constexpr std::size_t kDumpBytesMax = 64 << 20;
constexpr std::uint8_t kTcpListen = 10;  // TCP_LISTEN: unix_diag reports states by TCP's names

template <typename Struct>
bool read_struct(std::string_view bytes, Struct& out) {
  if (bytes.size() < sizeof out) return false;
  std::memcpy(&out, bytes.data(), sizeof out);
  return true;
}

constexpr std::size_t aligned(std::size_t length) {
  return (length + 3) & ~std::size_t{3};  // NLMSG_ALIGN and RTA_ALIGN
}

std::string path_of(std::string_view name) {
  // An abstract name begins with NUL (unix(7)) and is shown with @, as ss(8) does.
  if (!name.empty() && name.front() == '\0') return "@" + base::printable(name.substr(1));
  return base::printable(name.substr(0, name.find('\0')));
}

void parse_attributes(std::string_view attributes, UnixSocket& socket, std::map<std::uint64_t, std::uint64_t>& peers) {
  rtattr attribute{};
  while (read_struct(attributes, attribute)) {
    if (attribute.rta_len < sizeof attribute || attribute.rta_len > attributes.size()) return;
    const std::string_view payload = attributes.substr(sizeof attribute, attribute.rta_len - sizeof attribute);
    std::uint32_t peer = 0;
    if (attribute.rta_type == UNIX_DIAG_NAME) socket.path = path_of(payload);
    if (attribute.rta_type == UNIX_DIAG_PEER && read_struct(payload, peer)) peers[socket.inode] = peer;
    attributes.remove_prefix(std::min(aligned(attribute.rta_len), attributes.size()));
  }
}

// state names of include/net/tcp_states.h, from 1
constexpr std::array<const char*, 13> kTcpStates{"?",         "ESTABLISHED", "SYN_SENT",    "SYN_RECV",   "FIN_WAIT1",
                                                 "FIN_WAIT2", "TIME_WAIT",   "CLOSE",       "CLOSE_WAIT", "LAST_ACK",
                                                 "LISTEN",    "CLOSING",     "NEW_SYN_RECV"};

// "0100007F:115C" -> "127.0.0.1:4444"; the address is in host byte order per 32-bit word (proc(5)).
std::string tcp_address(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon != 8 && colon != 32) return {};
  std::array<std::uint32_t, 4> words{};
  for (std::size_t i = 0; i * 8 < colon; ++i) words[i] = number_or<std::uint32_t>(text.substr(i * 8, 8), 0, 16);
  char shown[INET6_ADDRSTRLEN] = {};
  const int family = colon == 8 ? AF_INET : AF_INET6;
  if (::inet_ntop(family, words.data(), shown, sizeof shown) == nullptr) return {};
  const auto port = number_or<unsigned>(text.substr(colon + 1), 0, 16);
  const std::string address = shown;
  return (family == AF_INET6 ? "[" + address + "]" : address) + ":" + std::to_string(port);
}

}  // namespace

base::Result<std::map<std::uint64_t, UnixSocket>> parse_unix_diag(std::string_view messages) {
  std::map<std::uint64_t, UnixSocket> sockets;
  std::map<std::uint64_t, std::uint64_t> peers;
  nlmsghdr header{};
  while (read_struct(messages, header)) {
    if (header.nlmsg_len < sizeof header || header.nlmsg_len > messages.size()) {
      return base::fail(base::ErrorKind::environment, "a truncated answer from sock_diag");
    }
    if (header.nlmsg_type == SOCK_DIAG_BY_FAMILY) {
      const std::string_view body = messages.substr(sizeof header, header.nlmsg_len - sizeof header);
      unix_diag_msg message{};
      if (!read_struct(body, message)) return base::fail(base::ErrorKind::environment, "a short answer from sock_diag");
      UnixSocket socket;
      socket.inode = message.udiag_ino;
      socket.listening = message.udiag_state == kTcpListen;
      parse_attributes(body.substr(std::min(body.size(), aligned(sizeof message))), socket, peers);
      sockets[socket.inode] = std::move(socket);
    }
    messages.remove_prefix(std::min(aligned(header.nlmsg_len), messages.size()));
  }
  for (const auto& [inode, peer] : peers) sockets[inode].peer_inode = peer;
  return sockets;
}

base::Result<std::map<std::uint64_t, UnixSocket>> read_unix_sockets() {
  const base::UniqueFd netlink(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!netlink.valid()) return base::fail_errno("sock_diag socket", errno);
  struct {
    nlmsghdr header;
    unix_diag_req request;
  } question{};
  question.header.nlmsg_len = sizeof question;
  question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  question.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  question.request.sdiag_family = AF_UNIX;
  question.request.udiag_states = ~0U;
  question.request.udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_PEER;
  if (::send(netlink.get(), &question, sizeof question, 0) < 0) return base::fail_errno("sock_diag request", errno);
  const auto deadline = base::Deadline::in(std::chrono::seconds(5));  // the kernel answers at once
  std::string messages;
  std::string buffer(64 << 10, '\0');
  for (;;) {
    if (!wait_readable(netlink.get(), deadline)) return base::fail_errno("sock_diag answer", ETIMEDOUT);
    const ssize_t bytes = ::recv(netlink.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (bytes < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (bytes <= 0) return base::fail_errno("sock_diag answer", errno);
    std::string_view batch(buffer.data(), static_cast<std::size_t>(bytes));
    bool done = false;
    nlmsghdr header{};
    for (std::string_view rest = batch; read_struct(rest, header) && header.nlmsg_len >= sizeof header;) {
      if (header.nlmsg_type == NLMSG_DONE) done = true;
      nlmsgerr error{};
      if (header.nlmsg_type == NLMSG_ERROR && read_struct(rest.substr(sizeof header), error)) {
        return base::fail_errno("sock_diag", -error.error);
      }
      rest.remove_prefix(std::min(aligned(header.nlmsg_len), rest.size()));
    }
    messages.append(batch);
    messages.resize(aligned(messages.size()));
    if (done) break;
    if (messages.size() > kDumpBytesMax) return base::fail(base::ErrorKind::environment, "too many unix sockets");
  }
  return parse_unix_diag(messages);
}

void parse_tcp_table(std::string_view table, std::map<std::uint64_t, std::string>& sockets) {
  take_line(table);  // headings
  while (!table.empty()) {
    std::string_view line = take_line(table);
    // sl local rem st tx:rx tr:when retrnsmt uid timeout inode
    std::array<std::string_view, 10> fields;
    for (std::string_view& field : fields) field = take_word(line);
    const auto inode = number_or<std::uint64_t>(fields[9], 0);
    const std::string local = tcp_address(fields[1]);
    const std::string remote = tcp_address(fields[2]);
    if (inode == 0 || local.empty() || remote.empty()) continue;
    const auto state = number_or<std::size_t>(fields[3], 0, 16);
    sockets[inode] = local + "->" + remote + " " + kTcpStates[state < kTcpStates.size() ? state : 0];
  }
}

std::map<std::uint64_t, std::string> read_tcp_sockets() {
  std::map<std::uint64_t, std::string> sockets;
  for (const char* name : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    if (const auto table = read_at(AT_FDCWD, name, kProcTextBytesMax)) parse_tcp_table(*table, sockets);
  }
  return sockets;
}

void refine_socket_kinds(std::vector<FdEntry>& fds, const std::map<std::uint64_t, UnixSocket>& unix_sockets,
                         const std::map<std::uint64_t, std::string>& tcp_sockets) {
  for (FdEntry& fd : fds) {
    if (fd.kind != "socket") continue;
    if (unix_sockets.count(fd.inode) > 0) {
      fd.kind = "unix";
    } else if (tcp_sockets.count(fd.inode) > 0) {
      fd.kind = "tcp";
    }
  }
}

}  // namespace migsoak::proc
