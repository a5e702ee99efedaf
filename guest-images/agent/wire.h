// Wire: the agent's end of the channel (PROTOCOL.md): lines with a CRC-32 on the second serial port.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

namespace migsoak::agent {

// CRC-32 of IEEE 802.3 (reflected 0xedb88320), as zlib's crc32().
std::uint32_t crc32(std::string_view bytes);

class Wire {
 public:
  // Opens the port in raw mode; false when it can't (errno says why).
  bool open(const char* path);
  // Waits for the next line whose CRC is right and returns it without the CRC. Other lines are counted and dropped.
  std::string read_line();
  // Adds the CRC and sends the line whole; lines of different threads never mix.
  void send(std::string_view body);
  // An answer, cut into parts that leave room for heartbeats between them.
  void send_answer(std::string_view id, std::string_view json);
  std::uint64_t rejected_lines() const { return rejected_lines_; }

 private:
  void wait_output_below(int bytes);

  int fd_ = -1;
  std::mutex send_mutex_;
  std::string pending_;
  bool overlong_ = false;
  std::uint64_t rejected_lines_ = 0;
};

// The heartbeat thread: "H <sequence> <monotonic ns>" every interval, at real-time priority so that neither the
// workload nor a verification delays it. Starts on the first call; later calls change the interval.
void set_heartbeat_interval(Wire& wire, std::int64_t interval_ns);
std::uint64_t heartbeats_sent();

}  // namespace migsoak::agent
