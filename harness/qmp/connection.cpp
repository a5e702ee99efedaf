#include "qmp/connection.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"

namespace migsoak::qmp {
namespace asio = boost::asio;
using asio::local::stream_protocol;
using base::ErrorKind;

namespace {

constexpr std::size_t kEventsMax = 10'000;
// Of the text that the events in the inbox came as; one event may be a line of 16 MiB.
constexpr std::size_t kEventBytesMax = 32u << 20;
// A peer that does not read while we keep sending is cut off here.
constexpr std::size_t kOutgoingBytesMax = 16u << 20;
// How often a socket that is not there yet is tried again: QEMU takes 30-70 ms to listen.
constexpr std::chrono::milliseconds kConnectRetry{2};

// One sendmsg(2); the descriptor travels with the first byte (unix(7), SCM_RIGHTS). Returns what write(2) would.
ssize_t send_some(int socket, std::string_view bytes, int descriptor) {
  iovec vector{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  if (descriptor >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &descriptor, sizeof(int));
  }
  ssize_t sent = -1;
  do {
    sent = ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent;
}

// The error object of a reply (qmp-spec 2.4.2) as one line.
std::string describe_error(const base::Json& error) {
  const auto text = base::json_get<std::string>(error, "class", "GenericError") + ": " +
                    base::json_get<std::string>(error, "desc", "(no description)");
  return base::printable(text, 2000);
}

}  // namespace

void Connection::begin(const std::string& socket_path) {
  path = socket_path;
  state = State::connecting;
  try_connect();
}

void Connection::try_connect() {
  if (state != State::connecting) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return end("socket path too long: " + base::printable(path));
  std::memcpy(address.sun_path, path.data(), path.size());
  base::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return end(std::string("socket: ") + std::strerror(errno));
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    boost::system::error_code error;
    socket.assign(stream_protocol(), fd.get(), error);
    if (error) return end("asio: " + error.message());
    (void)fd.release();
    state = State::greeting;
    return read_more();
  }
  // Not there yet, not listening yet, or its backlog is full (unix(7), EAGAIN): all of them may pass.
  if (errno != ENOENT && errno != ECONNREFUSED && errno != EAGAIN) {
    return end("connect " + base::printable(path) + ": " + std::strerror(errno));
  }
  retry_timer.expires_after(kConnectRetry);
  retry_timer.async_wait([self = shared_from_this()](boost::system::error_code error) {
    if (!error) self->try_connect();
  });
}

void Connection::read_more() {
  socket.async_read_some(asio::buffer(read_buffer), [self = shared_from_this()](boost::system::error_code error,
                                                                                std::size_t count) {
    if (self->state == State::ended) return;
    if (count > 0) self->on_bytes(count);
    if (self->state == State::ended) return;
    if (!error) return self->read_more();
    self->end(self->framer.partial_bytes() > 0 ? "the peer closed it in the middle of a line" : "the peer closed it");
  });
}

void Connection::on_bytes(std::size_t count) {
  framer.feed(std::string_view(read_buffer.data(), count));
  while (state != State::ended) {
    const auto line = framer.next_line();
    if (!line) break;
    if (!line->empty()) on_line(*line);
  }
  if (state != State::ended && framer.overflowed()) violate("a line beyond 16 MiB", framer.partial());
}

void Connection::on_line(std::string_view line) {
  auto parsed = base::parse_json(line);
  if (!parsed || !parsed->is_object()) return violate("not a JSON object", line);
  base::Json& message = *parsed;
  if (state == State::greeting) {
    if (!message.contains("QMP")) return violate("no QMP greeting", line);
    return on_greeting(message);
  }
  if (message.contains("event")) {
    if (!message["event"].is_string()) return violate("an event without a name", line);
    return on_event(message, line.size());
  }
  if (!message.contains("return") && !message.contains("error")) return violate("neither reply nor event", line);
  const auto id = message.find("id");
  if (id == message.end() || !id->is_number_unsigned()) return violate("a reply without our id", line);
  const auto number = id->get<std::uint64_t>();
  if (abandoned.erase(number) > 0) return;
  if (pending.count(number) == 0) return violate("a reply to a command that was not sent", line);
  on_reply(message);
}

void Connection::on_greeting(const base::Json&) {
  state = State::negotiating;
  // Commands may have been queued before; capabilities negotiation goes first (qmp-spec 4).
  negotiation_id = next_id++;
  pending.insert(negotiation_id);
  Outgoing first;
  first.bytes = base::dump_json({{"execute", "qmp_capabilities"}, {"id", negotiation_id}}) + "\n";
  outgoing_bytes += first.bytes.size();
  outgoing.push_front(std::move(first));
  flush();
}

void Connection::on_reply(const base::Json& message) {
  const auto id = message["id"].get<std::uint64_t>();
  pending.erase(id);
  if (id == negotiation_id) {
    if (message.contains("error")) {
      return end("capabilities negotiation was refused: " + describe_error(message["error"]));
    }
    state = State::open;
    return;
  }
  if (message.contains("error")) {
    replies.emplace(id, base::fail(ErrorKind::subject, describe_error(message["error"])));
  } else {
    replies.emplace(id, message["return"]);
  }
}

void Connection::on_event(base::Json& message, std::size_t bytes) {
  Event event;
  event.name = message["event"].get<std::string>();
  event.data = message.contains("data") ? std::move(message["data"]) : base::Json::object();
  event.arrived = base::Clock::now();
  // The oldest go first: what a waiter looks for is the latest.
  while (!events.empty() && (events.size() >= kEventsMax || event_bytes + bytes > kEventBytesMax)) {
    event_bytes -= event_sizes.front();
    event_sizes.pop_front();
    events.pop_front();
  }
  events.push_back(std::move(event));
  event_sizes.push_back(bytes);
  event_bytes += bytes;
}

void Connection::enqueue(Outgoing item) {
  outgoing_bytes += item.bytes.size();
  outgoing.push_back(std::move(item));
  if (outgoing_bytes > kOutgoingBytesMax) return end("the peer does not read: 16 MiB of commands are waiting");
  flush();
}

void Connection::flush() {
  if ((state != State::negotiating && state != State::open) || waiting_to_write) return;
  while (!outgoing.empty()) {
    Outgoing& item = outgoing.front();
    const std::string_view rest = std::string_view(item.bytes).substr(item.sent);
    const ssize_t sent = send_some(socket.native_handle(), rest, item.descriptor.get());
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ETOOMANYREFS)) {
      waiting_to_write = true;
      socket.async_wait(stream_protocol::socket::wait_write, [self = shared_from_this()](auto error) {
        self->waiting_to_write = false;
        if (!error) self->flush();
      });
      return;
    }
    // A closed peer: what it said last may still lie in our receive buffer, so reading ends the connection, not this.
    if (sent < 0) return;
    item.descriptor.reset();
    item.sent += static_cast<std::size_t>(sent);
    outgoing_bytes -= static_cast<std::size_t>(sent);
    if (item.sent == item.bytes.size()) outgoing.pop_front();
  }
}

void Connection::end(const std::string& why) {
  if (state == State::ended) return;
  state = State::ended;
  end_reason = why;
  boost::system::error_code ignored;
  socket.close(ignored);
  retry_timer.cancel();
  outgoing.clear();
  outgoing_bytes = 0;
  for (const auto id : pending) {
    replies.emplace(id, base::fail(ErrorKind::subject, "the QMP connection ended: " + why));
  }
  pending.clear();
}

void Connection::violate(const std::string& what, std::string_view bytes) {
  violation = what + ": " + base::printable(bytes.substr(0, 300), 300);
  end("the peer broke the protocol: " + violation);
}

std::uint64_t Connection::send(const std::string& command, const base::Json& arguments, int descriptor) {
  const std::uint64_t id = next_id++;
  if (state == State::ended || state == State::idle) {
    const std::string why = state == State::idle ? "never connected" : end_reason;
    replies.emplace(id, base::fail(ErrorKind::subject, "the QMP connection ended: " + why));
    return id;
  }
  base::Json message{{"execute", command}, {"id", id}};
  if (arguments.is_object() && !arguments.empty()) message["arguments"] = arguments;
  Outgoing item;
  item.bytes = base::dump_json(message) + "\n";
  if (descriptor >= 0) {
    // Ours until it is sent: the caller may close its own at once.
    item.descriptor.reset(::fcntl(descriptor, F_DUPFD_CLOEXEC, 3));
    if (!item.descriptor.valid()) {
      replies.emplace(id, base::fail_errno("duplicate the descriptor for " + command, errno));
      return id;
    }
  }
  pending.insert(id);
  enqueue(std::move(item));
  return id;
}

}  // namespace migsoak::qmp
