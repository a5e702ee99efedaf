#include "target/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

#include "base/text.h"

namespace migsoak::target {

namespace {

bool is_word_list(const base::Json& value) {
  return value.is_array() && std::all_of(value.begin(), value.end(), [](const auto& word) { return word.is_string(); });
}

std::string expected(OptionType type) {
  switch (type) {
    case OptionType::text: return "a string";
    case OptionType::path: return "a path";
    case OptionType::integer: return "a whole number";
    case OptionType::boolean: return "true or false";
    case OptionType::command: return "a program and its arguments, a list of strings";
  }
  return "?";
}

bool has_type(OptionType type, const base::Json& value) {
  switch (type) {
    case OptionType::text:
    case OptionType::path: return value.is_string();
    case OptionType::integer: return value.is_number_integer();
    case OptionType::boolean: return value.is_boolean();
    case OptionType::command: return is_word_list(value) && !value.empty();
  }
  return false;
}

// Empty: the value will do.
std::string problem_with(const OptionSpec& spec, const base::Json& value) {
  if (!has_type(spec.type, value)) return "expected " + expected(spec.type);
  if (spec.type == OptionType::integer) {
    const auto number = value.get<std::int64_t>();
    if (number >= spec.least && number <= spec.most) return "";
    return fmt::format("{} is out of range, expected {} to {}", number, spec.least, spec.most);
  }
  if (spec.type != OptionType::text || spec.choices.empty()) return "";
  const auto text = value.get<std::string>();
  if (std::find(spec.choices.begin(), spec.choices.end(), text) != spec.choices.end()) return "";
  const std::string near = base::nearest_name(text, spec.choices);
  return fmt::format("'{}' is not one of {}{}", base::printable(text, 60), base::join(spec.choices, ", "),
                     near.empty() ? "" : fmt::format("; did you mean '{}'?", near));
}

std::string unknown_option(const std::string& kind, const std::vector<OptionSpec>& specs, const std::string& name) {
  std::vector<std::string> known;
  for (const OptionSpec& spec : specs) known.push_back(spec.name);
  const std::string near = base::nearest_name(name, known);
  return fmt::format("unknown option of kind \"{}\"{}", kind,
                     near.empty() ? fmt::format("; it has {}", known.empty() ? "none" : base::join(known, ", "))
                                  : fmt::format(", did you mean '{}'?", near));
}

}  // namespace

const base::Json& OptionValues::at(const std::string& name) const {
  const auto it = values_.find(name);
  assert(it != values_.end() && "a kind asks for an option that it does not have");
  return it->second;
}

const std::string& OptionValues::text(const std::string& name) const {
  return at(name).get_ref<const std::string&>();
}

std::int64_t OptionValues::integer(const std::string& name) const {
  return at(name).get<std::int64_t>();
}

bool OptionValues::flag(const std::string& name) const {
  return at(name).get<bool>();
}

std::vector<std::string> OptionValues::words(const std::string& name) const {
  return at(name).get<std::vector<std::string>>();
}

const OptionSpec* find_option(const std::vector<OptionSpec>& specs, const std::string& name) {
  const auto it =
      std::find_if(specs.begin(), specs.end(), [&name](const OptionSpec& spec) { return spec.name == name; });
  return it != specs.end() ? &*it : nullptr;
}

tl::expected<OptionValues, OptionProblem> check_options(const std::string& kind, const std::vector<OptionSpec>& specs,
                                                        const Options& given) {
  OptionValues values;
  for (const auto& [name, value] : given) {
    const OptionSpec* spec = find_option(specs, name);
    if (spec == nullptr) return tl::unexpected(OptionProblem{name, unknown_option(kind, specs, name)});
    std::string problem = problem_with(*spec, value);
    if (!problem.empty()) return tl::unexpected(OptionProblem{name, std::move(problem)});
    values.values_[name] = value;
  }
  for (const OptionSpec& spec : specs) {
    if (values.values_.contains(spec.name)) continue;
    if (spec.fallback.is_null()) {
      return tl::unexpected(
          OptionProblem{spec.name, fmt::format("kind \"{}\" needs it: {}", kind, expected(spec.type))});
    }
    values.values_[spec.name] = spec.fallback;
  }
  return values;
}

}  // namespace migsoak::target
