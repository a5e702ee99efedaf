#include "gate/difference.h"

#include <fmt/format.h>

#include <sstream>

#include "base/text.h"
#include "gate/toml_document.h"

namespace migsoak::gate {

namespace {

constexpr std::size_t kValueBytesMax = 80;

// What is under test is made of these; its builds are a key of their own.
void leave_out_subject(toml::table& root) {
  for (const char* name : {"side", "target"}) {
    toml::array* tables = root[name].as_array();
    if (tables == nullptr) continue;
    for (toml::node& node : *tables) {
      if (toml::table* table = node.as_table()) {
        for (const char* key : {"env", "wrapper", "libvirt_env"}) table->erase(key);
      }
    }
  }
}

// In one form, whatever the order of its keys was. Text that is no TOML stands for itself: a damaged record is not the
// same as another one.
std::string asked_for(const record::Manifest& manifest, bool with_subject) {
  toml::parse_result parsed = toml::parse(manifest.scenario_text);
  if (!parsed) return manifest.scenario_text;
  toml::table root = std::move(parsed).table();
  for (const char* key : {"summary", "iterations", "seed", "gate"}) root.erase(key);
  if (toml::array* sides = root["side"].as_array()) {
    for (toml::node& side : *sides) {
      if (toml::table* table = side.as_table()) table->erase("qemu");
    }
  }
  if (!with_subject) leave_out_subject(root);
  std::ostringstream text;
  text << toml::toml_formatter(root);
  return text.str();
}

// The first lines that are not the same: two texts of a hundred lines explain nothing.
Difference first_difference(const std::string& key, const std::string& before, const std::string& now) {
  std::vector<std::string> old_lines = base::split(before, '\n'), new_lines = base::split(now, '\n');
  for (auto* lines : {&old_lines, &new_lines}) {
    for (std::string& text : *lines) text.erase(0, text.find_first_not_of(' '));
    // A heading says less than the key below it.
    std::erase_if(*lines, [](const std::string& text) { return text.empty() || text.starts_with('['); });
  }
  const auto line = [](const std::vector<std::string>& lines, std::size_t i) {
    return i < lines.size() ? base::printable(lines[i], kValueBytesMax) : std::string();
  };
  std::size_t i = 0;
  while (i < old_lines.size() && i < new_lines.size() && old_lines[i] == new_lines[i]) ++i;
  return {key, line(old_lines, i), line(new_lines, i)};
}

std::string builds_of(const record::Manifest& manifest) {
  std::vector<std::string> builds;
  for (const record::SideInfo& side : manifest.sides) builds.push_back(side.name + ": QEMU " + side.qemu_version);
  return base::join(builds, ", ");
}

std::string value_of(const record::Manifest& manifest, const std::string& key) {
  if (key == "scenario") return asked_for(manifest, false);
  if (key == "qemu") return builds_of(manifest);
  const auto found = manifest.environment.find(key);
  return found == manifest.environment.end() ? "" : base::dump_json(*found);
}

}  // namespace

bool same_scenario(const record::Manifest& before, const record::Manifest& now) {
  return asked_for(before, false) == asked_for(now, false);
}

std::vector<Difference> differences(const record::Manifest& before, const record::Manifest& now,
                                    const std::vector<std::string>& keys) {
  std::vector<Difference> found;
  for (const std::string& key : keys) {
    const std::string old_value = value_of(before, key), new_value = value_of(now, key);
    if (old_value == new_value && !new_value.empty()) continue;
    if (key == "scenario") {
      found.push_back(first_difference(key, old_value, new_value));
      continue;
    }
    found.push_back({base::printable(key, kValueBytesMax), base::printable(old_value, kValueBytesMax),
                     base::printable(new_value, kValueBytesMax)});
  }
  return found;
}

std::string words_of(const std::vector<Difference>& differences) {
  std::vector<std::string> words;
  for (const Difference& one : differences) {
    const auto shown = [](const std::string& value) { return value.empty() ? "nothing" : value; };
    const bool unnamed = one.before.empty() && one.now.empty();
    words.push_back(unnamed ? one.key + " (not on record)"
                            : fmt::format("{} ({} → {})", one.key, shown(one.before), shown(one.now)));
  }
  return base::join(words, ", ");
}

std::optional<Difference> subject_difference(const record::Manifest& before, const record::Manifest& now) {
  const std::string old_text = asked_for(before, true), new_text = asked_for(now, true);
  if (old_text == new_text) return std::nullopt;
  return first_difference("scenario", old_text, new_text);
}

}  // namespace migsoak::gate
