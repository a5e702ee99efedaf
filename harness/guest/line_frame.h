// Lines of the agent's channel: "<text>*<crc32 in 8 hex digits>\n" (guest-images/agent/PROTOCOL.md). Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace migsoak::guest {

// Longer lines are dropped; the agent's longest have about 540 bytes.
inline constexpr std::size_t kLineBytesMax = 2048;

std::uint32_t crc32(std::string_view bytes);                          // IEEE 802.3, as zlib's
std::string frame_line(std::string_view text);                        // with CRC and newline
std::optional<std::string_view> text_of_line(std::string_view line);  // without newline; nothing when the CRC is wrong

// Turns the bytes of several streams of one guest into lines. The guest talks on one stream at a time; where it moves
// on to another, the line it was at is cut, and the rest comes first on the new stream.
class LineJoiner {
 public:
  using OnLine = std::function<void(int stream, std::string_view text)>;

  // Bytes of the stream the guest talked on before must have been added first.
  void add_bytes(int stream, std::string_view bytes, const OnLine& on_line);
  // The stream is gone; what it ended with is kept for the next one.
  void end_stream(int stream);
  // The stream on which the guest was heard last; -1 when none or when it has ended.
  int talker() const { return talker_; }

  // Lines the protocol does not allow, printable and bounded. The first piece of a stream is not among them: it may
  // be the rest of a line whose beginning nobody saw.
  std::vector<std::string> take_rejected();
  std::uint64_t pieces_forgiven() const { return pieces_forgiven_; }
  std::uint64_t lines_joined() const { return lines_joined_; }

 private:
  struct Tail {
    std::string bytes;
    bool fresh = true;      // no newline seen yet
    bool overlong = false;  // dropping until the next newline
  };
  void take_line(int stream, Tail& tail, const OnLine& on_line);
  void reject(std::string_view line);

  std::map<int, Tail> tails_;
  std::string carried_;  // the unfinished line of the stream before
  int talker_ = -1;
  std::vector<std::string> rejected_;
  std::uint64_t rejected_unkept_ = 0;
  std::uint64_t pieces_forgiven_ = 0;
  std::uint64_t lines_joined_ = 0;
};

}  // namespace migsoak::guest
