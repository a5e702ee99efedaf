#include "qmp/framing.h"

#include <gtest/gtest.h>

namespace migsoak::qmp {
namespace {

TEST(LineFramer, CutsLinesHoweverTheyArrive) {
  const std::string stream = "one\r\ntwo\n\nthree\n";
  for (std::size_t chunk = 1; chunk <= stream.size(); ++chunk) {
    LineFramer framer(100);
    std::string seen;
    for (std::size_t at = 0; at < stream.size(); at += chunk) {
      framer.feed(stream.substr(at, chunk));
      while (const auto line = framer.next_line()) seen += "[" + std::string(*line) + "]";
    }
    EXPECT_EQ(seen, "[one][two][][three]") << "in chunks of " << chunk;
    EXPECT_EQ(framer.partial_bytes(), 0u);
  }
}

TEST(LineFramer, KeepsAnUnfinishedLine) {
  LineFramer framer(100);
  framer.feed("half");
  EXPECT_FALSE(framer.next_line());
  EXPECT_EQ(framer.partial_bytes(), 4u);
  framer.feed(" more\n");
  EXPECT_EQ(framer.next_line(), "half more");
}

TEST(LineFramer, RefusesALineBeyondTheBound) {
  LineFramer exact(4);
  exact.feed("1234\n");
  EXPECT_EQ(exact.next_line(), "1234");
  EXPECT_FALSE(exact.overflowed());

  LineFramer beyond(4);
  beyond.feed("12345\n");
  EXPECT_FALSE(beyond.next_line());
  EXPECT_TRUE(beyond.overflowed());

  LineFramer unfinished(4);
  unfinished.feed("12345");
  EXPECT_FALSE(unfinished.next_line());
  EXPECT_TRUE(unfinished.overflowed());
  const auto kept = unfinished.partial_bytes();
  for (int i = 0; i < 100; ++i) unfinished.feed("12345");
  EXPECT_EQ(unfinished.partial_bytes(), kept) << "a flood must not be kept";
}

}  // namespace
}  // namespace migsoak::qmp
