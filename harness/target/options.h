// Options: the keys that a kind of target has for itself, [target.options] of a scenario.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "base/json.h"

namespace migsoak::target {

enum class OptionType {
  text,
  path,  // relative to the scenario's directory when it has a slash
  integer,
  boolean,
  command,  // words, the first is a program
};

struct OptionSpec {
  std::string name;
  OptionType type;
  base::Json fallback;               // null: it has to be given
  std::vector<std::string> choices;  // text: one of these; empty: any
  std::int64_t least = 0, most = INT64_MAX;
};

// As given.
using Options = std::map<std::string, base::Json>;

struct OptionProblem {
  std::string option;
  std::string what;  // one line
};

// Checked, with every default filled in. A kind asks for its own options only: other names are a bug of the kind.
class OptionValues {
 public:
  const std::string& text(const std::string& name) const;
  std::int64_t integer(const std::string& name) const;
  bool flag(const std::string& name) const;
  std::vector<std::string> words(const std::string& name) const;

 private:
  friend tl::expected<OptionValues, OptionProblem> check_options(const std::string& kind,
                                                                 const std::vector<OptionSpec>& specs,
                                                                 const Options& given);
  const base::Json& at(const std::string& name) const;
  Options values_;
};

// The kind's name is for messages.
tl::expected<OptionValues, OptionProblem> check_options(const std::string& kind, const std::vector<OptionSpec>& specs,
                                                        const Options& given);

// Null when there is none.
const OptionSpec* find_option(const std::vector<OptionSpec>& specs, const std::string& name);

}  // namespace migsoak::target
