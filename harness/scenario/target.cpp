// [[target]] of a scenario.
#include <fmt/format.h>

#include "scenario/check.h"
#include "scenario/table_reader.h"
#include "target/target_kind.h"

namespace migsoak::scenario {

using base::Result;

namespace {

base::Json option_to_json(const toml::node& node) {
  const toml::array* array = node.as_array();
  if (array == nullptr) return scalar_to_json(node);
  base::Json words = base::Json::array();
  for (const toml::node& word : *array) words.push_back(word.value<std::string>().value_or(""));
  return words;
}

// These stand in [[target]] itself as well.
constexpr const char* kShortOptions[] = {"argv", "aio", "workers"};

// A key that stands in [[target]] for kinds that do not have it: it means nothing there, but has to make sense.
Result<void> check_foreign_option(const TableReader& in, const char* key, const base::Json& value) {
  if (value.is_array() && value.empty()) return {};
  for (const target::TargetKind& kind : target::target_kinds()) {
    const target::OptionSpec* option = target::find_option(kind.options, key);
    if (option == nullptr) continue;
    if (option->type == target::OptionType::command) {
      return in.error(key, fmt::format("{} goes with kind = \"{}\" only", key, kind.name));
    }
    const auto checked = target::check_options(kind.name, {*option}, {{key, value}});
    if (!checked) return in.error(key, checked.error().what);
  }
  return {};
}

Result<void> read_options(const TableReader& in, const target::TargetKind& kind, target::Options& options) {
  const toml::table* own = in.table()["options"].as_table();
  if (own != nullptr) {
    for (const auto& [name, node] : *own) options[std::string(name.str())] = option_to_json(node);
  }
  for (const char* key : kShortOptions) {
    const toml::node* node = in.table().get(key);
    if (node == nullptr) continue;
    if (own != nullptr && own->contains(key)) return in.error(key, "stands in [target.options] as well");
    const base::Json value = option_to_json(*node);
    if (target::find_option(kind.options, key) == nullptr) {
      MIGSOAK_TRY(check_foreign_option(in, key, value));
    } else {
      options[key] = value;
    }
  }
  const auto checked = target::check_options(kind.name, kind.options, options);
  if (checked) return {};
  const std::string& name = checked.error().option;
  const bool in_options = own != nullptr && own->contains(name);
  const std::string key = (in_options ? "options." : "") + base::printable(name, 60);
  return base::fail(base::ErrorKind::bad_input,
                    in.where(in_options ? own->get(name) : in.table().get(name), key) + checked.error().what);
}

Result<void> read_binary(const TableReader& in, const target::TargetKind& kind, TargetScenario& target) {
  std::string older;
  in.read("binary", target.binary);
  in.read("executable", older);
  if (!older.empty() && !target.binary.empty()) return in.error("executable", "is an older name of binary: give one");
  if (!target.binary.empty() && kind.program.empty()) {
    return in.error("binary", fmt::format("kind \"{}\" names its program itself", kind.name));
  }
  target.program_key = kind.program.empty() ? "argv" : older.empty() ? "binary" : "executable";
  if (!older.empty() && !kind.program.empty()) target.binary = older;
  return {};
}

// The options have been read.
Result<void> read_share(const TableReader& in, const target::TargetKind& kind, const target::Options& options,
                        TargetShare& share) {
  std::vector<std::string> names;
  for (const TargetShare choice : {TargetShare::one, TargetShare::per_side, TargetShare::per_vm}) {
    names.emplace_back(to_string(choice));
  }
  const auto values = target::check_options(kind.name, kind.options, options);
  const bool one_client = values && kind.ends_with_client != nullptr && kind.ends_with_client(*values);
  std::string name(to_string(one_client ? TargetShare::per_vm : TargetShare::one));
  MIGSOAK_TRY(in.read_choice("share", name, names));
  for (const TargetShare choice : {TargetShare::one, TargetShare::per_side, TargetShare::per_vm}) {
    if (to_string(choice) == name) share = choice;
  }
  if (!one_client || share == TargetShare::per_vm) return {};
  return in.error("share", "it serves one QEMU and ends with it: share = \"per-vm\"");
}

void resolve_paths(const target::TargetKind& kind, const std::string& directory, TargetScenario& target) {
  resolve_path(target.binary, directory);
  if (!target.wrapper.empty()) resolve_path(target.wrapper.front(), directory);
  for (const target::OptionSpec& option : kind.options) {
    const auto given = target.options.find(option.name);
    if (given == target.options.end()) continue;
    const bool path = option.type == target::OptionType::path;
    if (!path && option.type != target::OptionType::command) continue;
    base::Json& value = path ? given->second : given->second.front();
    std::string text = value.get<std::string>();
    resolve_path(text, directory);
    value = std::move(text);
  }
}

}  // namespace

Result<TargetScenario> read_target(const TableReader& in, const std::string& directory) {
  TargetScenario target;
  in.read("name", target.name);
  MIGSOAK_TRY(check_name(target.name), in.where(in.table().get("name"), "name"));
  MIGSOAK_TRY(in.read_choice("kind", target.kind, target_kind_names()));
  const target::TargetKind& kind = *target::find_target_kind(target.kind);
  std::uint64_t nofile = 1024;
  MIGSOAK_TRY(in.read_integer("nofile", nofile, 1, 1 << 20));
  target.nofile = nofile;
  in.read("env", target.env);
  in.read("wrapper", target.wrapper);
  MIGSOAK_TRY(read_binary(in, kind, target));
  MIGSOAK_TRY(read_options(in, kind, target.options));
  MIGSOAK_TRY(read_share(in, kind, target.options, target.share));
  MIGSOAK_TRY(in.read_size("size", target.size_bytes, 1ull << 20, 1ull << 40));
  resolve_paths(kind, directory, target);
  return target;
}

}  // namespace migsoak::scenario
