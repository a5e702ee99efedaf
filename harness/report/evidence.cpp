// Evidence in words: what explains most stands first.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "report/figures.h"

namespace migsoak::report {

namespace {

constexpr std::size_t kBriefValueBytesMax = 120;  // of one value, where there is one line for all
constexpr std::size_t kBriefMemberBytesMax = 40;  // of a member of an object, likewise
constexpr std::size_t kTitleWordBytesMin = 3;     // shorter ones are in any title by chance
constexpr std::size_t kEvidenceBytesMax = 2000;

struct ShownFirst {
  const char* detector;
  const char* keys;
};
#define RAW(keys)
constexpr ShownFirst kShownFirst[] = {
#define SHOWN(detector, keys) {detector, keys},
#include "report/evidence.def"
#undef SHOWN
};
#undef RAW
#define SHOWN(detector, keys)
constexpr const char* kRawKeys[] = {
#define RAW(keys) keys,
#include "report/evidence.def"
#undef RAW
};
#undef SHOWN

bool is_raw(const std::string& key) {
  return std::any_of(std::begin(kRawKeys), std::end(kRawKeys), [&](const char* keys) {
    const std::vector<std::string> all = base::split(keys, ' ');
    return std::find(all.begin(), all.end(), key) != all.end();
  });
}

std::vector<std::string> keys_in_order(const record::Finding& finding) {
  std::vector<std::string> keys;
  const auto add = [&](const std::string& key) {
    const bool there = finding.evidence.contains(key) && key != "confidence" && key != "known";  // lines of their own
    if (there && std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
  };
  for (const std::string_view detector : {std::string_view(finding.detector), std::string_view("*")}) {
    for (const ShownFirst& first : kShownFirst) {
      if (detector != first.detector) continue;
      for (const std::string& key : base::split(first.keys, ' ')) add(key);
    }
  }
  for (const bool raw : {false, true}) {
    for (const auto& [key, value] : finding.evidence.items()) {
      if (is_raw(key) == raw) add(key);
    }
  }
  return keys;
}

std::string value_of(const base::Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return number_text(value.get<double>());
  const bool flat = value.is_object() && std::none_of(value.begin(), value.end(),
                                                      [](const base::Json& item) { return item.is_structured(); });
  if (!flat) return base::dump_json(value);
  std::vector<std::string> parts;
  for (const auto& [key, item] : value.items()) parts.push_back(key + "=" + value_of(item));
  return "(" + base::join(parts, ", ") + ")";
}

// As words of their own, not as part of others.
bool says(const std::string& title, const std::string& words) {
  const auto in_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  for (std::size_t at = title.find(words); at != std::string::npos; at = title.find(words, at + 1)) {
    const std::size_t end = at + words.size();
    const bool begins = at == 0 || !in_word(title[at - 1]) || !in_word(words.front());
    const bool ends = end == title.size() || !in_word(title[end]) || !in_word(words.back());
    if (begins && ends) return true;
  }
  return false;
}

// Of an object too large for the line: what is short in it.
base::Json shortened(const base::Json& value) {
  if (!value.is_object() || base::dump_json(value).size() <= kBriefValueBytesMax) return value;
  base::Json rest = base::Json::object();
  for (const auto& [key, item] : value.items()) {
    const bool shown = !item.is_structured() && !is_raw(key) && base::dump_json(item).size() <= kBriefMemberBytesMax;
    if (shown && base::dump_json(rest).size() < kBriefValueBytesMax) rest[key] = item;
  }
  return rest;
}

bool left_out(const record::Finding& finding, const std::string& key, const base::Json& value) {
  if (is_raw(key) || value.is_null()) return true;
  if (key == "last_iteration" && value == base::Json(finding.first_iteration.value_or(-1))) return true;
  if (value.is_structured()) {
    return value.empty() || (value.is_array() && base::dump_json(value).size() > kBriefValueBytesMax);
  }
  if (!value.is_string()) return false;
  const auto& words = value.get_ref<const std::string&>();
  return words.empty() || (words.size() >= kTitleWordBytesMin && says(finding.title, words));
}

}  // namespace

std::vector<EvidenceLine> evidence_lines(const record::Finding& finding, Evidence extent) {
  if (!finding.evidence.is_object()) return {{"", base::dump_json(finding.evidence)}};
  std::vector<EvidenceLine> lines;
  for (const std::string& key : keys_in_order(finding)) {
    const base::Json& whole = finding.evidence[key];
    const base::Json value = extent == Evidence::brief ? shortened(whole) : whole;
    if (extent == Evidence::brief && left_out(finding, key, value)) continue;
    lines.push_back({key, value_of(value)});
  }
  return lines;
}

std::string evidence_text(const std::vector<EvidenceLine>& lines, Evidence extent) {
  if (lines.size() == 1 && lines.front().key.empty()) return base::printable(lines.front().value, kEvidenceBytesMax);
  std::vector<std::string> parts;
  for (const EvidenceLine& line : lines) {
    const std::size_t bytes_max = extent == Evidence::brief ? 2 * kBriefValueBytesMax : 300;
    parts.push_back(base::printable(line.key, 60) + "=" + base::printable(line.value, bytes_max));
  }
  return base::printable(base::join(parts, ", "), kEvidenceBytesMax);
}

std::string evidence_of(const record::Finding& finding, Evidence extent) {
  return evidence_text(evidence_lines(finding, extent), extent);
}

std::string known_of(const record::Finding& finding) {
  const base::Json known = base::json_get(finding.evidence, "known", base::Json::object());
  return base::json_text(known, "text", kEvidenceBytesMax);
}

}  // namespace migsoak::report
