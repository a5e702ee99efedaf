#include "guest/line_frame.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

namespace migsoak::guest {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

struct Lines {
  void add(int stream, std::string_view bytes) {
    joiner.add_bytes(stream, bytes, [this](int from, std::string_view text) {
      lines.push_back(std::to_string(from) + ":" + std::string(text));
    });
  }
  LineJoiner joiner;
  std::vector<std::string> lines;
};

TEST(LineFrame, CrcIsThatOfZlib) {
  EXPECT_EQ(crc32("123456789"), 0xcbf43926u);  // the check value of CRC-32/ISO-HDLC
  EXPECT_EQ(crc32(""), 0u);
}

TEST(LineFrame, FramesAndUnframes) {
  std::string line = frame_line("H 1 2");
  ASSERT_EQ(line.back(), '\n');
  line.pop_back();
  EXPECT_EQ(text_of_line(line), "H 1 2");
  line[2] = '7';
  EXPECT_EQ(text_of_line(line), std::nullopt);
  EXPECT_EQ(text_of_line(""), std::nullopt);
  EXPECT_EQ(text_of_line("*0000000"), std::nullopt);
}

TEST(LineJoiner, TakesLinesInAnyPieces) {
  Lines lines;
  for (const char byte : frame_line("one") + frame_line("two")) lines.add(1, std::string(1, byte));
  EXPECT_THAT(lines.lines, ElementsAre("1:one", "1:two"));
  EXPECT_THAT(lines.joiner.take_rejected(), IsEmpty());
}

// Every cut of a line, the ones at its ends included, gives the same lines.
TEST(LineJoiner, JoinsALineCutByASwitchOverAtEveryByte) {
  const std::string cut = frame_line("H 2 20");
  for (std::size_t at = 0; at <= cut.size(); ++at) {
    Lines lines;
    lines.add(1, frame_line("H 1 10") + cut.substr(0, at));
    lines.add(2, cut.substr(at) + frame_line("H 3 30"));
    const char* second = at == cut.size() ? "1:H 2 20" : "2:H 2 20";
    EXPECT_THAT(lines.lines, ElementsAre("1:H 1 10", second, "2:H 3 30")) << "cut at " << at;
    EXPECT_THAT(lines.joiner.take_rejected(), IsEmpty()) << "cut at " << at;
    EXPECT_EQ(lines.joiner.pieces_forgiven(), 0u) << "cut at " << at;
  }
}

TEST(LineJoiner, JoinsAcrossAStreamThatHasEnded) {
  const std::string cut = frame_line("H 2 20");
  Lines lines;
  lines.add(1, frame_line("H 1 10") + cut.substr(0, 4));
  lines.joiner.end_stream(1);
  EXPECT_EQ(lines.joiner.talker(), -1);
  lines.add(2, cut.substr(4));
  EXPECT_THAT(lines.lines, ElementsAre("1:H 1 10", "2:H 2 20"));
  EXPECT_EQ(lines.joiner.lines_joined(), 1u);
}

TEST(LineJoiner, ForgivesTheOnePieceOfASwitchOverAndNoOther) {
  Lines lines;
  lines.add(1, frame_line("H 1 10") + "H 2 2");  // its other half is lost
  lines.add(2, frame_line("H 3 30"));            // a line of its own all the same
  lines.add(2, "rubbish\n");
  EXPECT_THAT(lines.lines, ElementsAre("1:H 1 10", "2:H 3 30"));
  EXPECT_EQ(lines.joiner.pieces_forgiven(), 1u);
  EXPECT_THAT(lines.joiner.take_rejected(), ElementsAre("rubbish"));
}

TEST(LineJoiner, ForgivesTheRestOfALineNobodySawBegin) {
  Lines lines;
  lines.add(1, "0*12345678\n" + frame_line("H 9 9"));
  EXPECT_THAT(lines.lines, ElementsAre("1:H 9 9"));
  EXPECT_THAT(lines.joiner.take_rejected(), IsEmpty());
}

TEST(LineJoiner, AStreamThatNeverTalkedLeavesNoTrace) {
  Lines lines;
  lines.add(1, frame_line("H 1 10") + "H 2 ");
  lines.joiner.end_stream(2);
  lines.add(1, frame_line("H 2 20").substr(4));
  EXPECT_THAT(lines.lines, ElementsAre("1:H 1 10", "1:H 2 20"));
}

TEST(LineJoiner, BoundsWhatAHostileGuestSends) {
  Lines lines;
  lines.add(1, frame_line("H 1 10"));
  const std::string flood(64 << 10, 'x');
  for (int i = 0; i < 64; ++i) lines.add(1, flood);
  lines.add(1, "\n" + frame_line("H 2 20"));
  for (int i = 0; i < 1000; ++i) lines.add(1, "\x1b[31mno crc\n");
  EXPECT_THAT(lines.lines, ElementsAre("1:H 1 10", "1:H 2 20"));
  const std::vector<std::string> rejected = lines.joiner.take_rejected();
  ASSERT_THAT(rejected, SizeIs(101));
  EXPECT_EQ(rejected[1], "\\x1b[31mno crc");
  EXPECT_EQ(rejected.back(), "... and 901 more");
  for (const std::string& line : rejected) EXPECT_LE(line.size(), 203u);
}

// A line whose CRC happens to fit must still not pass when it is longer than the protocol allows.
TEST(LineJoiner, DropsAnOverlongLineEvenWithTheRightCrc) {
  Lines lines;
  lines.add(1, frame_line("H 1 10") + frame_line(std::string(kLineBytesMax, 'a')));
  EXPECT_THAT(lines.lines, ElementsAre("1:H 1 10"));
  EXPECT_THAT(lines.joiner.take_rejected(), SizeIs(1));
}

}  // namespace
}  // namespace migsoak::guest
