// ScriptedPeer: a thread that listens on a unix socket and plays QMP's other side as a test says.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <thread>

#include "base/json.h"
#include "base/unique_fd.h"

namespace migsoak::qmp {

inline constexpr const char* kGreeting = R"({"QMP": {"version": {"qemu": {"major": 7}}, "capabilities": ["oob"]}})";

// The accepted connection, as seen by the peer: blocking, with a receive timeout so that no test hangs.
class PeerSocket {
 public:
  explicit PeerSocket(int fd) : fd_(fd) {
    const timeval limit{20, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  }
  bool write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }
  bool write_line(const std::string& line) { return write(line + "\r\n"); }
  // The next command; null when the client went away. A descriptor that came along is kept in `descriptor`.
  base::Json read_command() {
    for (;;) {
      if (const auto end = buffer_.find('\n'); end != std::string::npos) {
        const std::string line = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        return base::parse_json(line).value_or(base::Json());
      }
      char bytes[4096];
      iovec vector{bytes, sizeof(bytes)};
      alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
      msghdr message{};
      message.msg_iov = &vector;
      message.msg_iovlen = 1;
      message.msg_control = control;
      message.msg_controllen = sizeof(control);
      const ssize_t count = ::recvmsg(fd_, &message, MSG_CMSG_CLOEXEC);
      if (count <= 0) return nullptr;
      if (const cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr && header->cmsg_type == SCM_RIGHTS) {
        int received = -1;
        std::memcpy(&received, CMSG_DATA(header), sizeof(received));
        descriptor.reset(received);
      }
      buffer_.append(bytes, static_cast<std::size_t>(count));
    }
  }
  void answer(const base::Json& command, const base::Json& result = base::Json::object()) {
    write_line(base::dump_json({{"return", result}, {"id", command.value("id", base::Json())}}));
  }
  // Greeting and negotiation, as a well-behaved QEMU does it.
  void negotiate() {
    write_line(kGreeting);
    answer(read_command());
  }

  base::UniqueFd descriptor;

 private:
  int fd_;
  std::string buffer_;
};

class ScriptedPeer {
 public:
  using Script = std::function<void(PeerSocket&)>;

  explicit ScriptedPeer(Script script) {
    char folder[] = "/tmp/migsoak-qmp-XXXXXX";
    folder_ = ::mkdtemp(folder);
    path_ = folder_ + "/q";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path_.c_str(), sizeof(address.sun_path) - 1);
    listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval limit{20, 0};
    ::setsockopt(listener_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    ::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
    ::listen(listener_.get(), 1);
    thread_ = std::thread([this, run = std::move(script)] {
      const int connection = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
      if (connection < 0) return;
      connection_ = connection;
      PeerSocket socket(connection);
      run(socket);
      ::shutdown(connection, SHUT_RDWR);  // what the client sees as the peer's close
    });
  }
  ~ScriptedPeer() {
    // Ends whatever the script still waits for.
    ::shutdown(listener_.get(), SHUT_RDWR);
    if (connection_ >= 0) ::shutdown(connection_, SHUT_RDWR);
    thread_.join();
    if (connection_ >= 0) ::close(connection_);
    ::unlink(path_.c_str());
    ::rmdir(folder_.c_str());
  }
  const std::string& path() const { return path_; }

 private:
  std::string folder_, path_;
  base::UniqueFd listener_;
  std::atomic<int> connection_{-1};
  std::thread thread_;
};

}  // namespace migsoak::qmp
