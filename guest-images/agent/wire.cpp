#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>
#include <utility>

#include "clock.h"

namespace migsoak::agent {

namespace {

constexpr std::size_t kLineBytesMax = 2048;
constexpr std::size_t kPartBytesMax = 480;
constexpr std::size_t kCrcDigits = 8;

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0xedb88320u : 0u);
    table[i] = value;
  }
  return table;
}
constexpr std::array<std::uint32_t, 256> kCrcTable = make_crc_table();

std::atomic<std::int64_t> heartbeat_interval_ns{0};
std::atomic<std::uint64_t> heartbeat_sequence{0};

void beat(Wire* wire) {
  sched_param priority{};
  priority.sched_priority = 50;
  pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority);
  std::int64_t due_ns = monotonic_ns();
  for (;;) {
    char line[64];
    const std::uint64_t sequence = heartbeat_sequence.fetch_add(1) + 1;
    const int length =
        snprintf(line, sizeof line, "H %" PRIx64 " %" PRIx64, sequence, static_cast<std::uint64_t>(monotonic_ns()));
    wire->send(std::string_view(line, static_cast<std::size_t>(length)));
    const std::int64_t interval_ns = heartbeat_interval_ns.load();
    const std::int64_t now_ns = monotonic_ns();
    due_ns += interval_ns;
    if (due_ns < now_ns) due_ns = now_ns;  // late: go on from here, no burst
    sleep_until_ns(due_ns);
  }
}

}  // namespace

std::uint32_t crc32(std::string_view bytes) {
  std::uint32_t value = 0xffffffffu;
  for (const char byte : bytes) value = (value >> 8) ^ kCrcTable[(value ^ static_cast<unsigned char>(byte)) & 0xff];
  return ~value;
}

bool Wire::open(const char* path) {
  fd_ = ::open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (fd_ < 0) return false;
  termios settings{};
  if (tcgetattr(fd_, &settings) != 0) return false;
  cfmakeraw(&settings);
  settings.c_cflag |= CLOCAL | CREAD;
  settings.c_cflag &= ~static_cast<tcflag_t>(CRTSCTS);
  cfsetspeed(&settings, B115200);
  return tcsetattr(fd_, TCSANOW, &settings) == 0;
}

std::string Wire::read_line() {
  for (;;) {
    const std::size_t end = pending_.find('\n');
    if (end != std::string::npos) {
      std::string line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      const bool cut = std::exchange(overlong_, false);
      if (line.empty()) continue;  // the host's resynchronising newline
      const std::size_t star = line.size() < kCrcDigits + 1 ? 0 : line.size() - kCrcDigits - 1;
      if (!cut && line[star] == '*') {
        char expected[kCrcDigits + 1];
        snprintf(expected, sizeof expected, "%08x", crc32(std::string_view(line).substr(0, star)));
        if (line.compare(star + 1, kCrcDigits, expected) == 0) return line.substr(0, star);
      }
      ++rejected_lines_;
      continue;
    }
    if (pending_.size() > kLineBytesMax) {
      pending_.clear();
      overlong_ = true;
    }
    char buffer[512];
    const ssize_t got = ::read(fd_, buffer, sizeof buffer);
    if (got > 0) {
      pending_.append(buffer, static_cast<std::size_t>(got));
    } else {
      sleep_until_ns(monotonic_ns() + 10'000'000);  // a hung-up or failing port must not spin
    }
  }
}

void Wire::send(std::string_view body) {
  char tail[kCrcDigits + 3];
  const int tail_length = snprintf(tail, sizeof tail, "*%08x\n", crc32(body));
  std::string line(body);
  line.append(tail, static_cast<std::size_t>(tail_length));
  const std::lock_guard lock(send_mutex_);
  std::size_t sent = 0;
  while (sent < line.size()) {
    const ssize_t put = ::write(fd_, line.data() + sent, line.size() - sent);
    if (put > 0) {
      sent += static_cast<std::size_t>(put);
    } else if (put < 0 && errno != EINTR && errno != EAGAIN) {
      return;
    }
  }
}

void Wire::wait_output_below(int bytes) {
  int queued = 0;
  while (ioctl(fd_, TIOCOUTQ, &queued) == 0 && queued > bytes) sleep_until_ns(monotonic_ns() + 500'000);
}

void Wire::send_answer(std::string_view id, std::string_view json) {
  const std::size_t parts = json.empty() ? 1 : (json.size() + kPartBytesMax - 1) / kPartBytesMax;
  for (std::size_t part = 0; part < parts; ++part) {
    char head[64];
    const int length =
        snprintf(head, sizeof head, "A %.*s %zu %zu ", static_cast<int>(id.size()), id.data(), part + 1, parts);
    std::string line(head, static_cast<std::size_t>(length));
    line += json.substr(part * kPartBytesMax, kPartBytesMax);
    wait_output_below(static_cast<int>(kPartBytesMax));
    send(line);
  }
}

void set_heartbeat_interval(Wire& wire, std::int64_t interval_ns) {
  if (heartbeat_interval_ns.exchange(interval_ns) == 0) std::thread(beat, &wire).detach();
}

std::uint64_t heartbeats_sent() {
  return heartbeat_sequence.load();
}

}  // namespace migsoak::agent
