#include "report/figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/text.h"

namespace migsoak::report {

std::string confidence_of(const record::Finding& finding) {
  const std::string said = base::json_get(finding.evidence, "confidence", std::string());
  if (!said.empty()) return base::printable(said);
  return finding.count > 1 ? fmt::format("seen {} times", finding.count) : "seen once";
}

std::string course_of(const record::Finding& finding) {
  std::vector<std::string> parts;
  if (finding.first_iteration) parts.push_back(fmt::format("since iteration {}", *finding.first_iteration));
  if (finding.detected_iteration && finding.detected_iteration != finding.first_iteration) {
    parts.push_back(fmt::format("proven at {}", *finding.detected_iteration));
  }
  if (finding.rate_per_iteration) parts.push_back(number_text(*finding.rate_per_iteration) + " per iteration");
  if (finding.exhausts_at_iteration) {
    parts.push_back(fmt::format("exhausted at about iteration {}", *finding.exhausts_at_iteration));
  }
  if (finding.count > 1) parts.push_back(fmt::format("{} times", finding.count));
  return base::join(parts, " · ");
}

std::string flatten(const base::Json& object, std::size_t bytes_max) {
  std::vector<std::string> parts;
  if (!object.is_object()) return base::printable(base::dump_json(object), bytes_max);
  for (const auto& [key, value] : object.items()) {
    std::string shown = value.is_string() ? value.get<std::string>() : base::dump_json(value);
    if (value.is_number_float()) shown = number_text(value.get<double>());
    parts.push_back(base::printable(key, 60) + "=" + base::printable(shown, 300));
  }
  return base::printable(base::join(parts, ", "), bytes_max);
}

std::vector<double> percentiles(std::vector<double> values, const std::vector<double>& percents) {
  std::erase_if(values, [](double value) { return std::isnan(value); });
  if (values.empty()) return std::vector<double>(percents.size(), 0);
  std::vector<double> found;
  auto sorted_to = values.begin();  // nothing before it is greater than what is behind it
  for (const double percent : percents) {
    const double rank = std::ceil(percent / 100.0 * static_cast<double>(values.size()));
    const auto index = static_cast<std::size_t>(std::max(rank, 1.0)) - 1;
    const auto nth = values.begin() + static_cast<std::ptrdiff_t>(std::min(index, values.size() - 1));
    std::nth_element(sorted_to, nth, values.end());
    found.push_back(*nth);
    sorted_to = nth;
  }
  return found;
}

namespace {
constexpr std::array<const char*, 8> kBlocks = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
}

std::string sparkline(const std::vector<double>& values, std::size_t columns) {
  std::vector<double> known;
  std::copy_if(values.begin(), values.end(), std::back_inserter(known), [](double v) { return std::isfinite(v); });
  if (known.empty() || columns == 0) return "";
  std::vector<double> means;
  const std::size_t buckets = std::min(columns, known.size());
  for (std::size_t bucket = 0; bucket < buckets; ++bucket) {
    const std::size_t from = bucket * known.size() / buckets;
    const std::size_t to = (bucket + 1) * known.size() / buckets;
    double sum = 0;
    for (std::size_t i = from; i < to; ++i) sum += known[i];
    means.push_back(sum / static_cast<double>(to - from));
  }
  const auto [least, greatest] = std::minmax_element(means.begin(), means.end());
  const double low = *least, span = *greatest - *least;
  std::string line;
  for (const double mean : means) {
    const double level = span > 0 ? (mean - low) / span * 7.0 : 0.0;
    line += kBlocks[static_cast<std::size_t>(std::clamp(std::lround(level), 0l, 7l))];
  }
  return line;
}

std::vector<std::size_t> histogram_counts(const std::vector<double>& values, std::size_t stretches) {
  constexpr double kLeast = 0.1;  // what is less, in whatever unit, is taken as this
  std::vector<double> logarithms;
  for (const double value : values) {
    if (std::isfinite(value)) logarithms.push_back(std::log(std::max(value, kLeast)));
  }
  if (logarithms.empty() || stretches == 0) return {};
  const auto [least, greatest] = std::minmax_element(logarithms.begin(), logarithms.end());
  const double low = *least, span = *greatest - *least;
  if (!(span > 0)) return {};
  std::vector<std::size_t> counts(stretches, 0);
  for (const double value : logarithms) {
    const auto bin = static_cast<std::size_t>((value - low) / span * static_cast<double>(stretches));
    ++counts[std::min(bin, stretches - 1)];
  }
  return counts;
}

std::string histogram_text(const std::vector<std::size_t>& counts) {
  if (counts.empty()) return "";
  const auto most = static_cast<double>(*std::max_element(counts.begin(), counts.end()));
  std::string line;
  for (const std::size_t count : counts) {
    const auto level = static_cast<std::size_t>(std::ceil(static_cast<double>(count) / most * 7.0));
    line += kBlocks[std::min<std::size_t>(level, 7)];
  }
  return line;
}

std::string bytes_text(double bytes) {
  static constexpr std::array<const char*, 6> kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  std::size_t unit = 0;
  while (std::abs(bytes) >= 1024 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.1f} {}", bytes, kUnits[unit]);
}

std::string number_text(double value) {
  if (std::isfinite(value) && value == std::floor(value) && std::abs(value) < 1e15) return fmt::format("{:.0f}", value);
  if (std::abs(value) >= 1000 && std::abs(value) < 1e15) return fmt::format("{:.0f}", value);
  return fmt::format("{:.3g}", value);
}

std::size_t columns_of(std::string_view utf8) {
  return static_cast<std::size_t>(
      std::count_if(utf8.begin(), utf8.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string wrap(const std::string& text, int width_columns, int indent, int lines_max) {
  const auto width = static_cast<std::size_t>(std::max(width_columns - indent, 20));
  std::vector<std::string> lines;
  std::string line;
  const auto flush = [&] {
    lines.push_back(line);
    line.clear();
  };
  for (std::string word : base::split(text, ' ')) {
    if (!line.empty() && columns_of(line) + 1 + columns_of(word) > width) flush();
    while (columns_of(word) > width) {  // cut at a code point
      std::size_t end = 0;
      for (std::size_t columns = 0; end < word.size(); ++end) {
        if ((static_cast<unsigned char>(word[end]) & 0xc0) != 0x80 && columns++ == width) break;
      }
      line = word.substr(0, end);
      flush();
      word.erase(0, end);
    }
    line += (line.empty() ? "" : " ") + word;
  }
  if (!line.empty() || lines.empty()) flush();
  if (lines.size() > static_cast<std::size_t>(lines_max)) {
    lines.resize(static_cast<std::size_t>(lines_max));
    std::string& last = lines.back();
    while (columns_of(last) + 2 > width) {  // room for the mark, at a code point
      while (!last.empty() && (static_cast<unsigned char>(last.back()) & 0xc0) == 0x80) last.pop_back();
      if (!last.empty()) last.pop_back();
    }
    last += " …";
  }
  return base::join(lines, "\n" + std::string(static_cast<std::size_t>(indent), ' '));
}

}  // namespace migsoak::report
