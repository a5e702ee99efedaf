// Monitor: a QEMU's QMP, however one gets there: a socket of our own (Client), or through whoever owns the QEMU.
// Commands are sent without waiting and matched to their replies by id; events lie in an inbox.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/json.h"
#include "base/result.h"

namespace migsoak::qmp {

struct Event {
  std::string name;  // "RESUME", "MIGRATION", ...
  base::Json data;
  base::Clock::time_point arrived;
};

class Monitor {
 public:
  Monitor() = default;
  virtual ~Monitor() = default;
  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;

  virtual bool connected() const = 0;
  // Why it can't be asked any more; empty while it can.
  virtual std::string end_reason() const = 0;

  // Sends without waiting; the returned id is for take_reply(). `descriptor` (borrowed) is handed to QEMU with it.
  std::uint64_t send(const std::string& command, const base::Json& arguments = base::Json::object(),
                     int descriptor = -1) {
    return send_command(command, arguments, descriptor);
  }
  virtual bool replied(std::uint64_t id) const = 0;
  // kind subject: QMP answered with an error ("GenericError: desc") or the connection ended; kind timeout: no answer.
  virtual base::Result<base::Json> take_reply(std::uint64_t id, base::Deadline deadline) = 0;
  base::Result<base::Json> execute(const std::string& command, const base::Json& arguments, base::Deadline deadline,
                                   int descriptor = -1);

  // Events since the connection was made, oldest first; taken ones are gone. The inbox holds at most 10,000.
  virtual std::vector<Event> take_events() = 0;
  // Is there an event of that name (and data[key] == value, when given)? Does not take it.
  bool has_event(const std::string& name, const std::string& key = "", const std::string& value = "") const {
    return find_event(name, key, value);
  }

  // Non-empty when the peer sent what QMP does not allow: one printable, bounded line.
  virtual std::string protocol_error() const = 0;

 private:
  virtual std::uint64_t send_command(const std::string& command, const base::Json& arguments, int descriptor) = 0;
  virtual bool find_event(const std::string& name, const std::string& key, const std::string& value) const = 0;
};

}  // namespace migsoak::qmp
