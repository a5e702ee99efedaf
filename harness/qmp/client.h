// Client: the Monitor that speaks QMP over a unix socket (QEMU docs/interop/qmp-spec): greeting, capabilities,
// pipelined commands matched by id, an event inbox. Every failure is typed; garbage from the peer is bounded and never
// trusted.
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
#include "qmp/monitor.h"

namespace migsoak::qmp {

// A line beyond this is a protocol error.
inline constexpr std::size_t kLineBytesMax = 16u << 20;

class Client : public Monitor {
 public:
  explicit Client(proc::Reactor& reactor);
  ~Client() override;

  // Connects (the path may not exist or not listen yet: retried until the deadline or until `give_up()` holds) and
  // negotiates. Error kinds: timeout, subject (garbage, closed).
  base::Result<void> connect(const std::string& socket_path, base::Deadline deadline,
                             const std::function<bool()>& give_up = nullptr);
  // The same in two steps, for a QEMU that is raised in the background: begin_connect() returns at once and the Reactor
  // does the rest; commands sent meanwhile are queued behind the negotiation.
  void begin_connect(const std::string& socket_path);
  base::Result<void> wait_connected(base::Deadline deadline, const std::function<bool()>& give_up = nullptr);
  bool connected() const override;
  std::string end_reason() const override;
  bool replied(std::uint64_t id) const override;
  base::Result<base::Json> take_reply(std::uint64_t id, base::Deadline deadline) override;
  std::vector<Event> take_events() override;
  std::string protocol_error() const override;

 private:
  // The descriptor travels with SCM_RIGHTS.
  std::uint64_t send_command(const std::string& command, const base::Json& arguments, int descriptor) override;
  bool find_event(const std::string& name, const std::string& key, const std::string& value) const override;

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace migsoak::qmp
