// GCC 12 sees a null dereference in asio's inlined scheduler, a false positive.
#pragma GCC diagnostic ignored "-Wnull-dereference"

#include "compat/qtest_port.h"

#include <fmt/format.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/write.hpp>
#include <charconv>

#include "base/text.h"

namespace migsoak::compat {
using base::ErrorKind;

namespace {

constexpr std::size_t kQtestReadBytes = 64u << 10;
// A block of 4096 bytes is 8 KiB of hex digits; far beyond that is no answer.
constexpr std::size_t kQtestLineBytesMax = 64u << 10;

char width_letter(int width) {
  return width == 1 ? 'b' : width == 2 ? 'w' : 'l';
}

}  // namespace

std::size_t QtestScript::add(const std::string& line) {
  text_ += line;
  return count_++;
}
void QtestScript::out(int width, std::uint32_t port, std::uint32_t value) {
  add(fmt::format("out{} {:#x} {:#x}\n", width_letter(width), port, value));
}
std::size_t QtestScript::in(int width, std::uint32_t port) {
  return add(fmt::format("in{} {:#x}\n", width_letter(width), port));
}
void QtestScript::write(int width, std::uint64_t address, std::uint32_t value) {
  add(fmt::format("write{} {:#x} {:#x}\n", width_letter(width), address, value));
}
std::size_t QtestScript::read(int width, std::uint64_t address) {
  return add(fmt::format("read{} {:#x}\n", width_letter(width), address));
}
std::size_t QtestScript::read_block(std::uint64_t address, std::size_t size) {
  return add(fmt::format("read {:#x} {:#x}\n", address, size));
}

std::uint32_t QtestAnswers::number(std::size_t index) const {
  const std::string& text = lines_.at(index);
  std::uint64_t value = 0;
  const char* begin = text.data() + (text.starts_with("0x") ? 2 : 0);
  const auto [end, error] = std::from_chars(begin, text.data() + text.size(), value, 16);
  return error == std::errc() && end != begin ? static_cast<std::uint32_t>(value) : 0xffffffffu;
}

std::vector<std::uint8_t> QtestAnswers::block(std::size_t index, std::size_t size) const {
  const std::string& text = lines_.at(index);
  std::vector<std::uint8_t> bytes(size, 0xff);
  for (std::size_t i = 0; i < size && 2 + 2 * i + 2 <= text.size(); ++i) {
    std::from_chars(text.data() + 2 + 2 * i, text.data() + 4 + 2 * i, bytes[i], 16);
  }
  return bytes;
}

// Shared with the handlers in flight.
struct QtestPort::Impl : std::enable_shared_from_this<QtestPort::Impl> {
  explicit Impl(proc::Reactor& reactor_in) : reactor(reactor_in), socket(reactor_in.io()) {}

  void read_more();
  void take_lines();
  void end(const std::string& why) {
    if (end_reason.empty()) end_reason = why;
    boost::system::error_code ignored;
    socket.close(ignored);
  }

  proc::Reactor& reactor;
  boost::asio::local::stream_protocol::socket socket;
  std::array<char, kQtestReadBytes> buffer{};
  std::string partial;
  std::vector<std::string> lines;
  std::string end_reason;
};

void QtestPort::Impl::read_more() {
  socket.async_read_some(boost::asio::buffer(buffer),
                         [self = shared_from_this()](const boost::system::error_code& ec, std::size_t count) {
                           if (ec) return self->end("qtest: " + ec.message());
                           self->partial.append(self->buffer.data(), count);
                           self->take_lines();
                           if (self->end_reason.empty()) self->read_more();
                         });
}

void QtestPort::Impl::take_lines() {
  std::size_t begin = 0;
  for (auto newline = partial.find('\n'); newline != std::string::npos; newline = partial.find('\n', begin)) {
    const std::string_view line(partial.data() + begin, newline - begin);
    begin = newline + 1;
    if (line.starts_with("IRQ ")) continue;
    if (!line.starts_with("OK")) return end("qtest answered '" + base::printable(line, 100) + "'");
    lines.emplace_back(line.substr(line.size() > 2 ? 3 : 2));
  }
  partial.erase(0, begin);
  if (partial.size() > kQtestLineBytesMax) end("qtest: a line without end");
}

QtestPort::QtestPort(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

QtestPort::~QtestPort() {
  impl_->end("closed by the harness");
}

base::Result<std::unique_ptr<QtestPort>> QtestPort::connect(proc::Reactor& reactor, const std::string& socket_path) {
  auto impl = std::make_shared<Impl>(reactor);
  boost::system::error_code ec;
  impl->socket.connect(boost::asio::local::stream_protocol::endpoint(socket_path), ec);
  if (ec) return base::fail(ErrorKind::subject, "no qtest port: " + ec.message());
  impl->read_more();
  return std::unique_ptr<QtestPort>(new QtestPort(std::move(impl)));
}

base::Result<QtestAnswers> QtestPort::run(const QtestScript& script, base::Deadline deadline) {
  Impl& own = *impl_;
  if (!own.end_reason.empty()) return base::fail(ErrorKind::subject, own.end_reason);
  own.lines.clear();
  const auto text = std::make_shared<const std::string>(script.text());
  boost::asio::async_write(own.socket, boost::asio::buffer(*text),
                           [self = own.shared_from_this(), text](const boost::system::error_code& ec, std::size_t) {
                             if (ec) self->end("qtest: " + ec.message());
                           });
  const auto waited =
      own.reactor.run_until([&] { return own.lines.size() >= script.count() || !own.end_reason.empty(); }, deadline);
  if (own.lines.size() >= script.count()) return QtestAnswers(std::move(own.lines));
  if (waited == proc::Wait::interrupted) return base::fail(ErrorKind::interrupted, "interrupted");
  if (waited == proc::Wait::timeout) {
    own.end("qtest: no answer in time");
    return base::fail(ErrorKind::timeout, own.end_reason);
  }
  return base::fail(ErrorKind::subject, own.end_reason);
}

}  // namespace migsoak::compat
