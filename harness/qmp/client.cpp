#include "qmp/client.h"

#include "base/text.h"
#include "qmp/connection.h"

namespace migsoak::qmp {
using base::ErrorKind;

struct Client::Impl {
  explicit Impl(proc::Reactor& reactor_in) : reactor(reactor_in) {}
  proc::Reactor& reactor;
  std::shared_ptr<Connection> connection;
};

Client::Client(proc::Reactor& reactor) : impl_(std::make_unique<Impl>(reactor)) {
  impl_->connection = std::make_shared<Connection>(reactor);
}

Client::~Client() {
  impl_->connection->end("closed by the harness");
}

void Client::begin_connect(const std::string& socket_path) {
  if (impl_->connection->state != Connection::State::idle) {
    impl_->connection->end("replaced by a new connection");
    impl_->connection = std::make_shared<Connection>(impl_->reactor);
  }
  impl_->connection->begin(socket_path);
}

base::Result<void> Client::wait_connected(base::Deadline deadline, const std::function<bool()>& give_up) {
  Connection& connection = *impl_->connection;
  const auto settled = [&] {
    return connection.state == Connection::State::open || connection.state == Connection::State::ended;
  };
  const auto waited = impl_->reactor.run_until([&] { return settled() || (give_up && give_up()); }, deadline);
  if (connection.state == Connection::State::open) return {};
  if (connection.state == Connection::State::ended) {
    return base::fail(ErrorKind::subject, "QMP: " + connection.end_reason);
  }
  if (waited == proc::Wait::interrupted)
    return base::fail(ErrorKind::interrupted, "interrupted while connecting to QMP");
  if (waited == proc::Wait::ready) return base::fail(ErrorKind::subject, "QMP: given up, it never answered");
  const bool listening = connection.state != Connection::State::connecting;
  return base::fail(ErrorKind::timeout, listening ? "QMP accepted the connection and said nothing"
                                                  : "nothing listens on " + base::printable(connection.path));
}

base::Result<void> Client::connect(const std::string& socket_path, base::Deadline deadline,
                                   const std::function<bool()>& give_up) {
  begin_connect(socket_path);
  auto connected_now = wait_connected(deadline, give_up);
  // A half-made connection is of no use to anyone after this.
  if (!connected_now) impl_->connection->end(connected_now.error().message);
  return connected_now;
}

bool Client::connected() const {
  return impl_->connection->state == Connection::State::open;
}

std::string Client::end_reason() const {
  return impl_->connection->end_reason;
}

std::uint64_t Client::send_command(const std::string& command, const base::Json& arguments, int descriptor) {
  return impl_->connection->send(command, arguments, descriptor);
}

bool Client::replied(std::uint64_t id) const {
  return impl_->connection->replies.count(id) > 0;
}

base::Result<base::Json> Client::take_reply(std::uint64_t id, base::Deadline deadline) {
  Connection& connection = *impl_->connection;
  const auto waited = impl_->reactor.run_until([&] { return connection.replies.count(id) > 0; }, deadline);
  if (const auto found = connection.replies.find(id); found != connection.replies.end()) {
    auto result = std::move(found->second);
    connection.replies.erase(found);
    return result;
  }
  if (connection.pending.erase(id) > 0) connection.abandoned.insert(id);
  if (waited == proc::Wait::interrupted) return base::fail(ErrorKind::interrupted, "interrupted while waiting for QMP");
  return base::fail(ErrorKind::timeout, "QMP did not answer in time");
}

std::vector<Event> Client::take_events() {
  Connection& connection = *impl_->connection;
  std::vector<Event> taken(std::make_move_iterator(connection.events.begin()),
                           std::make_move_iterator(connection.events.end()));
  connection.events.clear();
  connection.event_sizes.clear();
  connection.event_bytes = 0;
  return taken;
}

bool Client::find_event(const std::string& name, const std::string& key, const std::string& value) const {
  for (const Event& event : impl_->connection->events) {
    if (event.name != name) continue;
    if (key.empty() || base::json_get<std::string>(event.data, key, "") == value) return true;
  }
  return false;
}

std::string Client::protocol_error() const {
  return impl_->connection->violation;
}

}  // namespace migsoak::qmp
