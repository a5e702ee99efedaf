// SocketStream: a connection to one of QEMU's character device sockets, read as bytes arrive, written without waiting.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/deadline.h"
#include "base/result.h"
#include "proc/reactor.h"

namespace migsoak::guest {

class SocketStream {
 public:
  // Tries until the socket is there and listens (QEMU creates it a while after its start), or the deadline passes.
  static base::Result<std::unique_ptr<SocketStream>> connect(proc::Reactor& reactor, const std::string& path,
                                                             base::Deadline deadline);
  ~SocketStream();
  SocketStream(const SocketStream&) = delete;
  SocketStream& operator=(const SocketStream&) = delete;

  // Called from the reactor for everything that arrives; set before the reactor runs again.
  void on_bytes(std::function<void(std::string_view)> handler);
  // Called from the reactor when bytes are there, before they are read.
  void on_readable(std::function<void()> handler);
  // Hands over what has already arrived, at once.
  void drain();
  // False when the peer has gone.
  bool open() const;
  // All or a part, whatever fits; false when nothing could be sent. Never waits.
  bool send_now(std::string_view bytes);

 private:
  struct Impl;
  explicit SocketStream(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace migsoak::guest
