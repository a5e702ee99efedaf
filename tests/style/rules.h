// The style rules: pure functions over a tree of files held in memory.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace migsoak::style {

struct SourceFile {
  std::string path;  // relative to the root, '/' between
  std::string text;
};
using Tree = std::vector<SourceFile>;

struct Config {
  std::map<std::string, std::set<std::string>> rooms;  // room -> rooms it may include
  std::map<std::string, int> limits;
  std::set<std::string> top_names;
  std::set<std::string> forbidden_words;
};

struct Offence {
  std::string rule;
  std::string path;
  int line = 0;      // from 1; 0: the file as a whole
  std::string name;  // function, where the rule is about one
  std::string message;

  std::string describe() const;
};

struct Exception {
  std::string rule;
  std::string path;
  std::string name;  // empty: anything in the file
  std::string reason;
};

// Text of rules.txt and exceptions.txt. A line that makes no sense is itself an offence (rule "config").
Config parse_config(std::string_view text, std::vector<Offence>& offences);
std::vector<Exception> parse_exceptions(std::string_view text, std::vector<Offence>& offences);

// All rules over all files, sorted by path and line.
std::vector<Offence> check(const Tree& tree, const Config& config);
// `offences` without the excepted ones, plus one "stale-exception" for each entry that excepted nothing.
std::vector<Offence> without_exceptions(std::vector<Offence> offences, const std::vector<Exception>& exceptions);

// The names of all rules that `check` can report: the test of the test wants each to have fired.
std::vector<std::string> rule_names();

}  // namespace migsoak::style
