// GCC 12 sees null pointers in asio's inlined executor and scheduler that no code path has.
#pragma GCC diagnostic ignored "-Wnull-dereference"
#include "guest/socket_stream.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/unique_fd.h"
#include "proc/run_dir.h"

namespace migsoak::guest {

namespace {

// A guest that floods must not keep the reactor from everything else: at most so much per turn.
constexpr std::size_t kBytesPerTurn = 64 << 10;

// A connected descriptor, or none with errno.
base::UniqueFd try_connect(const std::string& path) {
  base::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return fd;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int error = errno;
    fd.reset();
    errno = error;
  }
  return fd;
}

}  // namespace

struct SocketStream::Impl : std::enable_shared_from_this<SocketStream::Impl> {
  Impl(boost::asio::io_context& io, int fd) : descriptor(io, fd) {}

  void wait() {
    descriptor.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                          [weak = weak_from_this()](const boost::system::error_code& error) {
                            const auto self = weak.lock();
                            if (!self || error || self->closed) return;
                            if (self->readable) self->readable();
                            self->read();
                            if (!self->ended) self->wait();
                          });
  }

  void read() {
    const auto self = shared_from_this();  // a handler may drop the stream
    std::array<char, 16 << 10> buffer;
    for (std::size_t total = 0; total < kBytesPerTurn && !ended && !closed;) {
      const ssize_t got = ::read(descriptor.native_handle(), buffer.data(), buffer.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EAGAIN) return;
      if (got <= 0) {
        ended = true;
        return;
      }
      total += static_cast<std::size_t>(got);
      if (bytes) bytes(std::string_view(buffer.data(), static_cast<std::size_t>(got)));
    }
  }

  boost::asio::posix::stream_descriptor descriptor;
  std::function<void(std::string_view)> bytes;
  std::function<void()> readable;
  bool ended = false;
  bool closed = false;
};

SocketStream::SocketStream(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

SocketStream::~SocketStream() {
  impl_->closed = true;
  boost::system::error_code ignored;
  impl_->descriptor.close(ignored);
}

base::Result<std::unique_ptr<SocketStream>> SocketStream::connect(proc::Reactor& reactor, const std::string& path,
                                                                  base::Deadline deadline) {
  MIGSOAK_TRY(proc::check_socket_path(path));
  base::UniqueFd fd;
  int error = 0;
  const proc::Wait wait = reactor.run_until(
      [&] {
        fd = try_connect(path);
        error = fd.valid() ? 0 : errno;
        // Anything but "not there yet" and "backlog full" is final.
        return fd.valid() || (error != ENOENT && error != ECONNREFUSED && error != EAGAIN && error != EINTR);
      },
      deadline, std::chrono::milliseconds(5));
  if (wait == proc::Wait::interrupted) return base::fail(base::ErrorKind::interrupted, "stopped by the user");
  if (!fd.valid() && wait == proc::Wait::timeout) {
    return base::fail(base::ErrorKind::timeout, fmt::format("nothing listens on {}: {}", path, std::strerror(error)));
  }
  if (!fd.valid()) return base::fail_errno(fmt::format("connect to {}", path), error);
  try {
    auto impl = std::make_shared<Impl>(reactor.io(), fd.get());
    static_cast<void>(fd.release());  // the descriptor object owns it from here
    impl->wait();
    return std::unique_ptr<SocketStream>(new SocketStream(std::move(impl)));
  } catch (const std::exception& exception) {
    return base::fail(base::ErrorKind::environment, fmt::format("socket {}: {}", path, exception.what()));
  }
}

void SocketStream::on_bytes(std::function<void(std::string_view)> handler) {
  impl_->bytes = std::move(handler);
}

void SocketStream::on_readable(std::function<void()> handler) {
  impl_->readable = std::move(handler);
}

void SocketStream::drain() {
  impl_->read();
}

bool SocketStream::open() const {
  return !impl_->ended;
}

bool SocketStream::send_now(std::string_view bytes) {
  if (impl_->ended) return false;
  return ::send(impl_->descriptor.native_handle(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT) > 0;
}

}  // namespace migsoak::guest
