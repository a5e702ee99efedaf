// GCC 12 sees a null pointer in asio's inlined executor comparison that no code path has.
#pragma GCC diagnostic ignored "-Wnull-dereference"
#include "guest/channel.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <cassert>
#include <utility>

#include "base/text.h"
#include "guest/answers.h"
#include "guest/heartbeat_log.h"
#include "guest/line_frame.h"
#include "guest/request_table.h"
#include "guest/socket_stream.h"

namespace migsoak::guest {

namespace {

constexpr std::chrono::milliseconds kRepeatEvery{1000};
constexpr std::chrono::milliseconds kEndIsKnownWithin{300};
constexpr std::size_t kProtocolErrorsKept = 100;

std::string workload_name(Workload kind) {
  switch (kind) {
    case Workload::idle: return "idle";
    case Workload::dirty: return "dirty";
    case Workload::verify: return "verify";
  }
  assert(false);
  return "idle";
}

}  // namespace

struct GuestChannel::Impl {
  explicit Impl(proc::Reactor& loop)
      : reactor(loop),
        requests(static_cast<std::uint64_t>(base::Clock::now().time_since_epoch().count())),
        repeat_timer(loop.io()) {}

  void take_bytes(int stream, std::string_view bytes) {
    const base::Clock::time_point arrived = base::Clock::now();
    lines.add_bytes(stream, bytes, [&](int from, std::string_view text) { take_line(from, text, arrived); });
  }

  void take_line(int stream, std::string_view text, base::Clock::time_point arrived) {
    switch (heartbeats.take_line(stream, text, arrived)) {
      case HeartbeatLog::Outcome::noted: return;
      case HeartbeatLog::Outcome::out_of_order:
        note_protocol_error(fmt::format("heartbeat out of order: {}", base::printable(text, 80)));
        return;
      case HeartbeatLog::Outcome::not_a_heartbeat: break;
    }
    if (text == "B") {
      booted = true;
    } else if (!requests.take_part(text)) {
      note_protocol_error(base::printable(text, 200));
    }
  }

  void note_protocol_error(std::string line) {
    if (protocol_errors.size() < kProtocolErrorsKept) {
      protocol_errors.push_back(std::move(line));
    } else {
      ++protocol_errors_unkept;
    }
  }

  // What the guest said before it moved to this stream comes before what it says here.
  void drain_older(int stream) {
    if (stream == lines.talker()) return;
    for (const auto& [number, other] : streams) {
      if (number < stream) other->drain();  // it moves on to younger streams only
    }
  }

  // The newline ends whatever half a line the guest may hold (PROTOCOL.md, "Requests").
  void send(const std::string& line) {
    const auto it = streams.find(active);
    if (it != streams.end()) it->second->send_now("\n" + frame_line(line));
  }
  void send_unanswered() {
    for (const std::string& line : requests.unanswered()) send(line);
  }

  void repeat_later() {
    if (std::exchange(repeating, true)) return;
    repeat_timer.expires_after(kRepeatEvery);
    repeat_timer.async_wait([this, weak = std::weak_ptr<int>(alive)](const boost::system::error_code& error) {
      if (weak.expired() || error) return;
      repeating = false;
      if (requests.unanswered().empty()) return;
      send_unanswered();
      repeat_later();
    });
  }

  std::uint64_t request(std::string_view text) {
    const std::uint64_t id = requests.add(text);
    send(*requests.line_of(id));
    repeat_later();
    return id;
  }

  std::function<bool()> died;  // see end_waits_when()

  // Every QEMU that could carry the guest's words has gone.
  bool deaf() const {
    return std::none_of(streams.begin(), streams.end(), [](const auto& stream) { return stream.second->open(); });
  }

  base::Result<void> wait(const std::function<bool()>& predicate, base::Deadline deadline, const std::string& what) {
    const base::Clock::time_point began = base::Clock::now();
    const auto hopeless = [this] { return deaf() || (died && died()); };
    switch (reactor.run_until([&] { return predicate() || hopeless(); }, deadline)) {
      case proc::Wait::ready:
        if (predicate()) return {};
        // A dying process closes its sockets before its end is known: let that be known first, it says more.
        reactor.run_until(predicate, deadline.sooner(base::Deadline::in(kEndIsKnownWithin)));
        return base::fail(
            base::ErrorKind::subject,
            fmt::format("the guest gave no {}: {}", what, deaf() ? "QEMU closed its channel" : "its kernel died"));
      case proc::Wait::interrupted: return base::fail(base::ErrorKind::interrupted, "stopped by the user");
      case proc::Wait::timeout: break;
    }
    const base::Clock::time_point now = base::Clock::now();
    std::string heard = "no heartbeat ever";
    if (const auto last = heartbeats.last()) {
      heard = fmt::format("last heartbeat {:.0f} ms ago", base::milliseconds_between(last->arrived, now));
    }
    return base::fail(base::ErrorKind::timeout, fmt::format("the guest gave no {} within {:.0f} ms ({})", what,
                                                            base::milliseconds_between(began, now), heard));
  }

  base::Result<base::Json> finish(std::uint64_t id, const std::string& name, base::Deadline deadline) {
    if (auto waited = wait([&] { return requests.answered(id); }, deadline, "answer to '" + name + "'"); !waited) {
      requests.forget(id);
      return tl::unexpected<base::Error>(std::move(waited.error()));
    }
    base::Json answer = *requests.take_answer(id);
    if (!answer.is_object()) {
      return base::fail(base::ErrorKind::subject, fmt::format("the guest's answer to '{}' is not a JSON object", name));
    }
    return answer;
  }

  proc::Reactor& reactor;
  std::map<int, std::unique_ptr<SocketStream>> streams;
  int next_stream = 1;
  int active = -1;
  LineJoiner lines;
  HeartbeatLog heartbeats;
  RequestTable requests;
  bool booted = false;
  std::optional<std::uint64_t> verify_id;
  std::vector<std::string> protocol_errors;
  std::uint64_t protocol_errors_unkept = 0;
  boost::asio::steady_timer repeat_timer;
  bool repeating = false;
  std::shared_ptr<int> alive = std::make_shared<int>(0);
};

GuestChannel::GuestChannel(proc::Reactor& reactor) : impl_(std::make_unique<Impl>(reactor)) {}
GuestChannel::~GuestChannel() = default;

base::Result<int> GuestChannel::attach(const std::string& socket_path, base::Deadline deadline) {
  MIGSOAK_ASSIGN(auto stream, SocketStream::connect(impl_->reactor, socket_path, deadline), "guest channel");
  const int number = impl_->next_stream++;
  Impl* impl = impl_.get();  // outlives its streams
  stream->on_readable([impl, number] { impl->drain_older(number); });
  stream->on_bytes([impl, number](std::string_view bytes) { impl->take_bytes(number, bytes); });
  impl_->streams[number] = std::move(stream);
  if (impl_->active < 0) impl_->active = number;
  return number;
}

void GuestChannel::make_active(int stream) {
  if (impl_->active == stream) return;
  impl_->active = stream;
  impl_->send_unanswered();  // what was sent to the old stream may have died with it
}

void GuestChannel::detach(int stream) {
  const auto it = impl_->streams.find(stream);
  if (it == impl_->streams.end()) return;
  it->second->drain();
  impl_->streams.erase(stream);
  impl_->lines.end_stream(stream);
  if (impl_->active == stream) impl_->active = -1;
}

bool GuestChannel::stream_open(int stream) const {
  const auto it = impl_->streams.find(stream);
  return it != impl_->streams.end() && it->second->open();
}

std::optional<Heartbeat> GuestChannel::last_heartbeat() const {
  return impl_->heartbeats.last();
}

std::uint64_t GuestChannel::heartbeats_on(int stream) const {
  return impl_->heartbeats.count_on(stream);
}

base::Result<Heartbeat> GuestChannel::wait_heartbeat(int stream, base::Deadline deadline) {
  MIGSOAK_TRY(impl_->wait([&] { return impl_->heartbeats.count_on(stream) > 0; }, deadline,
                          fmt::format("heartbeat on stream {}", stream)));
  return *impl_->heartbeats.first_on(stream);
}

base::Result<Heartbeat> GuestChannel::wait_next_heartbeat(base::Deadline deadline) {
  const std::uint64_t before = impl_->heartbeats.count();
  MIGSOAK_TRY(impl_->wait([&] { return impl_->heartbeats.count() > before; }, deadline, "further heartbeat"));
  return *impl_->heartbeats.last();
}

HeartbeatGap GuestChannel::take_gap() {
  return impl_->heartbeats.take_gap();
}

void GuestChannel::end_waits_when(std::function<bool()> died) {
  impl_->died = std::move(died);
}

base::Result<Hello> GuestChannel::wait_hello(base::Deadline deadline) {
  // Nothing is sent before the agent listens: a booting kernel would eat the bytes.
  MIGSOAK_TRY(impl_->wait([&] { return impl_->booted || impl_->heartbeats.last().has_value(); }, deadline, "hello"));
  MIGSOAK_ASSIGN(const base::Json answer, command("hello", base::Json::object(), deadline));
  return hello_from_answer(answer);
}

base::Result<void> GuestChannel::start_workload(const WorkloadSpec& spec, base::Deadline deadline) {
  const base::Json arguments = {{"kind", workload_name(spec.kind)},
                                {"ram_bytes", spec.ram_bytes},
                                {"dirty_bytes_per_s", spec.dirty_bytes_per_s},
                                {"disk_bytes_per_s", spec.disk_bytes_per_s},
                                {"disk_queue_depth", spec.disk_queue_depth},
                                {"seed", spec.seed}};
  MIGSOAK_ASSIGN(const base::Json answer, command("workload", arguments, deadline));
  return check_answer("workload", answer);
}

base::Result<VerifyReport> GuestChannel::verify(std::uint64_t ram_bytes_min, std::uint64_t disk_bytes_min,
                                                base::Deadline deadline) {
  MIGSOAK_TRY(begin_verify(ram_bytes_min, disk_bytes_min));
  return finish_verify(deadline);
}

base::Result<void> GuestChannel::begin_verify(std::uint64_t ram_bytes_min, std::uint64_t disk_bytes_min) {
  if (impl_->verify_id) impl_->requests.forget(*impl_->verify_id);
  MIGSOAK_ASSIGN(const std::string text,
                 arguments_text({{"ram_bytes_min", ram_bytes_min}, {"disk_bytes_min", disk_bytes_min}}));
  impl_->verify_id = impl_->request("verify" + text);
  return {};
}

bool GuestChannel::verify_answered() const {
  return impl_->verify_id && impl_->requests.answered(*impl_->verify_id);
}

base::Result<VerifyReport> GuestChannel::finish_verify(base::Deadline deadline) {
  assert(impl_->verify_id);
  const std::uint64_t id = *std::exchange(impl_->verify_id, std::nullopt);
  MIGSOAK_ASSIGN(const base::Json answer, impl_->finish(id, "verify", deadline));
  return verify_from_answer(answer);
}

base::Result<base::Json> GuestChannel::command(const std::string& name, const base::Json& arguments,
                                               base::Deadline deadline) {
  MIGSOAK_ASSIGN(const PendingCommand pending, begin_command(name, arguments));
  return finish_command(pending, deadline);
}

base::Result<PendingCommand> GuestChannel::begin_command(const std::string& name, const base::Json& arguments) {
  MIGSOAK_ASSIGN(const std::string text, arguments_text(arguments));
  return PendingCommand{impl_->request(name + text), name};
}

bool GuestChannel::answered(const PendingCommand& command) const {
  return impl_->requests.answered(command.id);
}

base::Result<base::Json> GuestChannel::finish_command(const PendingCommand& command, base::Deadline deadline) {
  return impl_->finish(command.id, command.name, deadline);
}

void GuestChannel::forget(const PendingCommand& command) {
  impl_->requests.forget(command.id);
}

std::vector<std::string> GuestChannel::take_protocol_errors() {
  std::vector<std::string> errors = std::exchange(impl_->protocol_errors, {});
  for (std::string& line : impl_->lines.take_rejected()) errors.push_back(std::move(line));
  if (const std::uint64_t more = std::exchange(impl_->protocol_errors_unkept, 0); more > 0) {
    errors.push_back(fmt::format("... and {} more", more));
  }
  return errors;
}

}  // namespace migsoak::guest
