// Client: QMP over a unix socket (QEMU docs/interop/qmp-spec): greeting, capabilities, pipelined commands matched by
// id, an event inbox. Every failure is typed; garbage from the peer is bounded and never trusted.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/json.h"
#include "base/unique_fd.h"
#include "proc/reactor.h"

namespace migsoak::qmp {

// A line beyond this is a protocol error.
inline constexpr std::size_t kLineBytesMax = 16u << 20;

struct Event {
  std::string name;  // "RESUME", "MIGRATION", ...
  base::Json data;
  base::Clock::time_point arrived;
};

class Client {
 public:
  explicit Client(proc::Reactor& reactor);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Connects (the path may not exist or not listen yet: retried until the deadline or until `give_up()` holds) and
  // negotiates. Error kinds: timeout, subject (garbage, closed).
  base::Result<void> connect(const std::string& socket_path, base::Deadline deadline,
                             const std::function<bool()>& give_up = nullptr);
  // The same in two steps, for a QEMU that is raised in the background: begin_connect() returns at once and the Reactor
  // does the rest; commands sent meanwhile are queued behind the negotiation.
  void begin_connect(const std::string& socket_path);
  base::Result<void> wait_connected(base::Deadline deadline, const std::function<bool()>& give_up = nullptr);
  bool connected() const;
  // Why the connection ended; empty while it has not.
  std::string end_reason() const;

  // Sends without waiting; the returned id is for take_reply(). `descriptor` (borrowed) travels with SCM_RIGHTS.
  std::uint64_t send(const std::string& command, const base::Json& arguments = base::Json::object(),
                     int descriptor = -1);
  bool replied(std::uint64_t id) const;
  // kind subject: QMP answered with an error ("GenericError: desc") or the connection ended; kind timeout: no answer.
  base::Result<base::Json> take_reply(std::uint64_t id, base::Deadline deadline);
  base::Result<base::Json> execute(const std::string& command, const base::Json& arguments, base::Deadline deadline,
                                   int descriptor = -1);

  // Events since connect(), oldest first; taken ones are gone. The inbox holds at most 10,000.
  std::vector<Event> take_events();
  // Is there an event of that name (and data[key] == value, when given)? Does not take it.
  bool has_event(const std::string& name, const std::string& key = "", const std::string& value = "") const;

  // Non-empty when the peer sent what QMP does not allow: one printable, bounded line.
  std::string protocol_error() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace migsoak::qmp
