#include "guest/console.h"

#include <fcntl.h>
#include <unistd.h>

#include <map>
#include <utility>

#include "base/unique_fd.h"
#include "guest/console_text.h"
#include "guest/socket_stream.h"

namespace migsoak::guest {

struct Console::Impl {
  Impl(proc::Reactor& loop, std::string file, std::uint64_t bytes_max)
      : reactor(loop), log_file(std::move(file)), log_bytes_left(bytes_max) {}

  void take_bytes(int stream, std::string_view bytes) {
    talker = stream;
    for (const std::string& line : text.add_bytes(bytes)) log(line);
  }

  // A console is evidence, not the record: a log that can't be written must not end the run.
  void log(const std::string& line) {
    if (log_file.empty() || log_bytes_left == 0) return;
    if (!log_fd.valid()) {
      log_fd.reset(::open(log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
      if (!log_fd.valid()) {
        log_bytes_left = 0;
        return;
      }
    }
    std::string entry = line + "\n";
    if (entry.size() >= log_bytes_left) {
      entry = "... the log ends here: it has reached its size limit\n";
      log_bytes_left = 0;
    } else {
      log_bytes_left -= entry.size();
    }
    if (::write(log_fd.get(), entry.data(), entry.size()) < 0) log_bytes_left = 0;
  }

  proc::Reactor& reactor;
  std::string log_file;
  std::uint64_t log_bytes_left;
  base::UniqueFd log_fd;
  ConsoleText text;
  std::map<int, std::unique_ptr<SocketStream>> streams;
  int next_stream = 1;
  int talker = -1;
};

Console::Console(proc::Reactor& reactor, std::string log_file, std::uint64_t log_bytes_max)
    : impl_(std::make_unique<Impl>(reactor, std::move(log_file), log_bytes_max)) {}
Console::~Console() = default;

base::Result<int> Console::attach(const std::string& socket_path, base::Deadline deadline) {
  MIGSOAK_ASSIGN(auto stream, SocketStream::connect(impl_->reactor, socket_path, deadline), "guest console");
  const int number = impl_->next_stream++;
  Impl* impl = impl_.get();  // outlives its streams
  // A line cut by a switch-over goes on where it stopped, once the old stream's rest has been read.
  stream->on_readable([impl, number] {
    if (impl->talker == number) return;
    for (const auto& [other, socket] : impl->streams) {
      if (other < number) socket->drain();  // the guest moves on to younger streams only
    }
  });
  stream->on_bytes([impl, number](std::string_view bytes) { impl->take_bytes(number, bytes); });
  impl_->streams[number] = std::move(stream);
  return number;
}

void Console::detach(int stream) {
  const auto it = impl_->streams.find(stream);
  if (it == impl_->streams.end()) return;
  it->second->drain();
  impl_->streams.erase(stream);
}

std::vector<std::string> Console::take_lines() {
  return impl_->text.take_lines();
}

std::uint64_t Console::take_dropped_bytes() {
  return impl_->text.take_dropped_bytes();
}

bool Console::panicked() const {
  return impl_->text.panicked();
}

std::vector<std::string> Console::take_alarm_lines() {
  return impl_->text.take_alarm_lines();
}

std::vector<std::string> Console::last_lines() const {
  return impl_->text.last_lines();
}

}  // namespace migsoak::guest
