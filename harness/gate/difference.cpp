#include "gate/difference.h"

#include <fmt/format.h>

#include <sstream>

#include "base/text.h"
#include "gate/toml_document.h"

namespace migsoak::gate {

namespace {

constexpr std::size_t kValueBytesMax = 80;

// In one form, whatever the order of its keys was. Text that is no TOML stands for itself: a damaged record is not the
// same as another one.
std::string asked_for(const record::Manifest& manifest) {
  toml::parse_result parsed = toml::parse(manifest.scenario_text);
  if (!parsed) return manifest.scenario_text;
  toml::table root = std::move(parsed).table();
  for (const char* key : {"summary", "iterations", "seed", "gate"}) root.erase(key);
  if (toml::array* sides = root["side"].as_array()) {
    for (toml::node& side : *sides) {
      if (toml::table* table = side.as_table()) table->erase("qemu");
    }
  }
  std::ostringstream text;
  text << toml::toml_formatter(root);
  return text.str();
}

std::string builds_of(const record::Manifest& manifest) {
  std::vector<std::string> builds;
  for (const record::SideInfo& side : manifest.sides) builds.push_back(side.name + ": QEMU " + side.qemu_version);
  return base::join(builds, ", ");
}

std::string value_of(const record::Manifest& manifest, const std::string& key) {
  if (key == "scenario") return asked_for(manifest);
  if (key == "qemu") return builds_of(manifest);
  const auto found = manifest.environment.find(key);
  return found == manifest.environment.end() ? "" : base::dump_json(*found);
}

}  // namespace

bool same_scenario(const record::Manifest& before, const record::Manifest& now) {
  return asked_for(before) == asked_for(now);
}

std::vector<Difference> differences(const record::Manifest& before, const record::Manifest& now,
                                    const std::vector<std::string>& keys) {
  std::vector<Difference> found;
  for (const std::string& key : keys) {
    const std::string old_value = value_of(before, key), new_value = value_of(now, key);
    if (old_value == new_value && !new_value.empty()) continue;
    // Two texts of a hundred lines explain nothing.
    const bool is_long = key == "scenario";
    found.push_back({base::printable(key, kValueBytesMax),
                     base::printable(is_long ? before.scenario : old_value, kValueBytesMax),
                     base::printable(is_long ? now.scenario : new_value, kValueBytesMax)});
  }
  return found;
}

std::string words_of(const std::vector<Difference>& differences) {
  std::vector<std::string> words;
  for (const Difference& one : differences) {
    const bool unnamed = one.before.empty() && one.now.empty();
    const auto shown = [](const std::string& value) { return value.empty() ? "not on record" : value; };
    words.push_back(unnamed                 ? one.key + " (not on record)"
                    : one.before == one.now ? one.key + " (not as asked then)"
                                            : fmt::format("{} ({} → {})", one.key, shown(one.before), shown(one.now)));
  }
  return base::join(words, ", ");
}

}  // namespace migsoak::gate
