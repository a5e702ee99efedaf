// Connection: the state machine behind Client. Internal to qmp.
#pragma once

// GCC 12 sees a null dereference in asio's inlined scheduler (thread_info of a thread outside run()), a false positive.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wnull-dereference"
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#pragma GCC diagnostic pop
#include <array>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "qmp/client.h"
#include "qmp/framing.h"

namespace migsoak::qmp {

inline constexpr std::size_t kReadBytes = 64u << 10;

struct Outgoing {
  std::string bytes;
  std::size_t sent = 0;
  base::UniqueFd descriptor;  // our own duplicate, until the first byte is gone
};

// Shared with the handlers in flight: they may run once more after the Client is gone.
struct Connection : std::enable_shared_from_this<Connection> {
  enum class State { idle, connecting, greeting, negotiating, open, ended };

  explicit Connection(proc::Reactor& reactor_in)
      : reactor(reactor_in), socket(reactor.io()), retry_timer(reactor.io()), framer(kLineBytesMax) {}

  void begin(const std::string& socket_path);
  void try_connect();
  void read_more();
  void on_bytes(std::size_t count);
  void on_line(std::string_view line);
  void on_greeting(const base::Json& message);
  void on_reply(const base::Json& message);
  void on_event(base::Json& message, std::size_t bytes);
  void enqueue(Outgoing outgoing);
  void flush();
  void end(const std::string& why);
  void violate(const std::string& what, std::string_view bytes);
  std::uint64_t send(const std::string& command, const base::Json& arguments, int descriptor);

  proc::Reactor& reactor;
  boost::asio::local::stream_protocol::socket socket;
  boost::asio::steady_timer retry_timer;
  State state = State::idle;
  std::string path;
  std::string end_reason;
  std::string violation;

  std::array<char, kReadBytes> read_buffer;
  LineFramer framer;

  std::deque<Outgoing> outgoing;
  std::size_t outgoing_bytes = 0;
  bool waiting_to_write = false;

  std::uint64_t next_id = 1;
  std::uint64_t negotiation_id = 0;
  std::set<std::uint64_t> pending;
  std::set<std::uint64_t> abandoned;  // timed out: a late answer is dropped, not a violation
  std::map<std::uint64_t, base::Result<base::Json>> replies;
  std::deque<Event> events;
  std::deque<std::size_t> event_sizes;  // of events, one for one
  std::size_t event_bytes = 0;
};

}  // namespace migsoak::qmp
