#include "base/text.h"

#include <gmock/gmock.h>

#include "base/rng.h"

namespace migsoak::base {
namespace {

TEST(Printable, EscapesWhatATerminalWouldObey) {
  EXPECT_EQ(printable("plain é → 日本 🙂"), "plain é → 日本 🙂");
  EXPECT_EQ(printable("a\tb\nc\x1b[2J\x7f"), "a b\\x0ac\\x1b[2J\\x7f");
  EXPECT_EQ(printable(std::string("nul\0x", 5)), "nul\\x00x");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "\\xc2\\x9b31m")
      << "C1 CSI";
  EXPECT_EQ(printable("ab\xe2\x80\xae"
                      "c"),
            "ab\\xe2\\x80\\xaec")
      << "right-to-left override";
  EXPECT_EQ(printable("a\xe2\x81\xa6"
                      "b"),
            "a\\xe2\\x81\\xa6b")
      << "isolate";
  EXPECT_EQ(printable("‘quoted’ — dash…"), "‘quoted’ — dash…") << "their neighbours stay";
}

TEST(Printable, InvalidUtf8) {
  EXPECT_EQ(printable("\xff\xfe"), "\\xff\\xfe");
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf") << "overlong";
  EXPECT_EQ(printable("\xe0\x80\x80"), "\\xe0\\x80\\x80") << "overlong";
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80") << "surrogate";
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80") << "beyond U+10FFFF";
  EXPECT_EQ(printable("cut \xe2\x86"), "cut \\xe2\\x86");
}

TEST(Printable, IsBoundedAndMarksTheCut) {
  EXPECT_EQ(printable("abcdef", 6), "abcdef");
  EXPECT_EQ(printable("abcdefg", 6), "abc…");
  EXPECT_EQ(printable("→→→", 6), "→…");
  EXPECT_EQ(printable("abc", 2), "");
  EXPECT_EQ(printable("abc", 0), "");
  EXPECT_EQ(printable("", 0), "");
}

TEST(Printable, RandomBytesAreAlwaysCleanAndBounded) {
  Rng rng(3);
  for (int round = 0; round < 3000; ++round) {
    std::string bytes(rng.below(60), '\0');
    for (char& c : bytes) c = static_cast<char>(rng.next());
    const std::size_t bytes_max = rng.below(80);
    const std::string shown = printable(bytes, bytes_max);
    EXPECT_LE(shown.size(), bytes_max);
    for (const char c : shown) {
      EXPECT_GE(static_cast<unsigned char>(c), 0x20);
      EXPECT_NE(c, '\x7f');
    }
    EXPECT_EQ(printable(shown, 1000), shown) << "valid UTF-8 with nothing left to escape";
  }
}

TEST(ContentHash, IsStableAndTellsContentsApart) {
  EXPECT_EQ(content_hash("").size(), 32u);
  // xxhsum -H2 of the empty input
  EXPECT_EQ(content_hash(""), "99aa06d3014798d86001c324468d497f");
  EXPECT_NE(content_hash("a"), content_hash("b"));
  EXPECT_NE(hash64("a"), hash64("b"));
  EXPECT_EQ(hash64(""), 0x2d06800538d394c2ull);
}

TEST(NearestName, FindsTyposAndNothingElse) {
  const std::vector<std::string> names = {"iterations", "machine", "memory", "cpus"};
  EXPECT_EQ(nearest_name("iteratons", names), "iterations");
  EXPECT_EQ(nearest_name("mahcine", names), "machine");
  EXPECT_EQ(nearest_name("cpu", names), "cpus");
  EXPECT_EQ(nearest_name("workload", names), "");
  EXPECT_EQ(nearest_name("x", {}), "");
  EXPECT_EQ(nearest_name("", names), "");
}

TEST(Split, KeepsEmptyParts) {
  EXPECT_THAT(split("a,,b,", ','), testing::ElementsAre("a", "", "b", ""));
  EXPECT_THAT(split("", ','), testing::ElementsAre(""));
  EXPECT_EQ(join({"a", "b"}, ", "), "a, b");
  EXPECT_EQ(join({}, ", "), "");
}

// What the shell makes of it is what went in.
std::string through_the_shell(const std::string& word) {
  FILE* pipe = ::popen(("printf %s " + shell_quote(word)).c_str(), "r");
  if (pipe == nullptr) return "popen failed";
  std::string out;
  char buffer[256];
  while (const std::size_t got = std::fread(buffer, 1, sizeof buffer, pipe)) out.append(buffer, got);
  ::pclose(pipe);
  return out;
}

TEST(ShellQuote, SurvivesAShell) {
  EXPECT_EQ(shell_quote("results/a-b_1.db"), "results/a-b_1.db");
  EXPECT_EQ(shell_quote(""), "''");
  EXPECT_EQ(shell_quote("it's"), "'it'\\''s'");
  for (const char* word :
       {"a b", "it's", "$(id)", "`id`", "\\", "a\nb", "~", "*", "é", "'", "\"", "-n", "#x", "{a,b}", "a;b", "=x"}) {
    EXPECT_EQ(through_the_shell(word), word);
  }
}

}  // namespace
}  // namespace migsoak::base
