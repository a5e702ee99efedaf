#include "gate/policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <optional>
#include <sstream>

#include "base/text.h"
#include "gate/toml_document.h"

namespace migsoak::gate {

using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

constexpr std::size_t kPolicyBytesMax = 1 << 20;
constexpr std::size_t kNameBytesMax = 200;  // of subjects, metrics, fingerprints

// One table of a policy: its keys, each with how it is read. A key that is not among them is refused.
class PolicyTable {
 public:
  using Read = std::function<Result<void>(const toml::node&, const std::string& where)>;

  PolicyTable(std::string file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}
  PolicyTable& key(const std::string& name, Read read) {
    keys_.emplace_back(name, std::move(read));
    return *this;
  }
  Result<void> read(const toml::table& table) const {
    for (const auto& [key_node, node] : table) {
      const std::string name(key_node.str());
      const auto found =
          std::find_if(keys_.begin(), keys_.end(), [&](const auto& known) { return known.first == name; });
      // A table's own place is its heading's, which may be elsewhere than the key.
      if (found == keys_.end()) return unknown(name, static_cast<int>(key_node.source().begin.line));
      MIGSOAK_TRY(found->second(node, place(node) + shown(name) + ": "));
    }
    return {};
  }
  std::string place(const toml::node& node) const {
    return fmt::format("{}:{}: ", file_, static_cast<int>(node.source().begin.line));
  }

 private:
  std::string shown(const std::string& name) const {
    return base::printable(path_.empty() ? name : path_ + "." + name, kNameBytesMax);
  }
  Result<void> unknown(const std::string& name, int line) const {
    std::vector<std::string> names;
    for (const auto& [known, read] : keys_) names.push_back(known);
    const std::string near = base::nearest_name(name, names);
    return fail(ErrorKind::bad_input,
                fmt::format("{}:{}: unknown key '{}'{}; known here: {}", file_, line, shown(name),
                            near.empty() ? "" : fmt::format(", did you mean '{}'?", near), base::join(names, ", ")));
  }

  std::string file_, path_;
  std::vector<std::pair<std::string, Read>> keys_;
};

Result<void> expected(const std::string& where, const std::string& what) {
  return fail(ErrorKind::bad_input, where + "expected " + what);
}

// Open below: (least, most].
PolicyTable::Read number(double& out, double least, double most, const char* what) {
  return [&out, least, most, what](const toml::node& node, const std::string& where) -> Result<void> {
    const std::optional<double> value = node.is_number() ? node.value<double>() : std::nullopt;
    // Written so that not-a-number is refused.
    if (!value || !(*value > least && *value <= most)) return expected(where, what);
    out = *value;
    return {};
  };
}

PolicyTable::Read floor_of(double& out) {
  return [&out](const toml::node& node, const std::string& where) -> Result<void> {
    const std::optional<double> value = node.is_number() ? node.value<double>() : std::nullopt;
    if (!value || !(*value >= 0 && *value <= 1e15)) {
      return expected(where, "a number of at least 0, in the metric's own unit, such as 5");
    }
    out = *value;
    return {};
  };
}

PolicyTable::Read whole(int& out, int least, int most) {
  return [&out, least, most](const toml::node& node, const std::string& where) -> Result<void> {
    const std::optional<std::int64_t> value = node.is_integer() ? node.value<std::int64_t>() : std::nullopt;
    if (!value || *value < least || *value > most) {
      return expected(where, fmt::format("a whole number from {} to {}", least, most));
    }
    out = static_cast<int>(*value);
    return {};
  };
}

PolicyTable::Read yes_or_no(bool& out) {
  return [&out](const toml::node& node, const std::string& where) -> Result<void> {
    if (!node.is_boolean()) return expected(where, "true or false");
    out = *node.value<bool>();
    return {};
  };
}

bool is_word(const toml::node& node, std::size_t bytes_max) {
  const std::optional<std::string> value = node.is_string() ? node.value<std::string>() : std::nullopt;
  return value && !value->empty() && value->size() <= bytes_max;
}

PolicyTable::Read word(std::string& out, const char* what, std::size_t bytes_max = kNameBytesMax) {
  return [&out, what, bytes_max](const toml::node& node, const std::string& where) -> Result<void> {
    if (!is_word(node, bytes_max)) return expected(where, fmt::format("{}, at most {} bytes", what, bytes_max));
    out = *node.value<std::string>();
    return {};
  };
}

PolicyTable::Read words(std::vector<std::string>& out) {
  return [&out](const toml::node& node, const std::string& where) -> Result<void> {
    const toml::array* array = node.as_array();
    const bool good = array != nullptr && std::all_of(array->begin(), array->end(), [](const toml::node& item) {
                        return is_word(item, kNameBytesMax);
                      });
    if (!good) return expected(where, "a list of names, such as [\"scenario\", \"boot_id\"]");
    out.clear();
    for (const toml::node& item : *array) out.push_back(*item.value<std::string>());
    return {};
  };
}

// 2026-12-31, as TOML's own date or as a string.
std::optional<Day> day_of(const toml::node& node) {
  int year = 0;
  unsigned month = 0, day = 0;
  if (const std::optional<toml::date> date = node.is_date() ? node.value<toml::date>() : std::nullopt) {
    year = date->year;
    month = date->month;
    day = date->day;
  } else if (const std::string text = node.is_string() ? node.value<std::string>().value_or("") : ""; !text.empty()) {
    // The same rules for both: TOML's parser reads it.
    const bool shaped = text.size() == 10 && text.find_first_not_of("0123456789-") == std::string::npos;
    if (!shaped) return std::nullopt;
    const toml::parse_result parsed = toml::parse("day = " + text);
    if (!parsed || !parsed.table()["day"].is_date()) return std::nullopt;
    return day_of(*parsed.table().get("day"));
  } else {
    return std::nullopt;
  }
  const Day found{std::chrono::year(year), std::chrono::month(month), std::chrono::day(day)};
  return found.ok() ? std::optional<Day>(found) : std::nullopt;
}

PolicyTable::Read day(Day& out) {
  return [&out](const toml::node& node, const std::string& where) -> Result<void> {
    const std::optional<Day> value = day_of(node);
    if (!value) return expected(where, "a day, such as 2026-12-31");
    out = *value;
    return {};
  };
}

PolicyTable::Read table(const PolicyTable& keys) {
  return [keys](const toml::node& node, const std::string& where) -> Result<void> {
    if (!node.is_table()) return expected(where, "a table");
    return keys.read(*node.as_table());
  };
}

// [[NAME]]: each of its tables is given to `take`.
PolicyTable::Read tables(std::function<Result<void>(const toml::table&)> take) {
  return [take = std::move(take)](const toml::node& node, const std::string& where) -> Result<void> {
    const toml::array* array = node.as_array();
    const bool good = array != nullptr && (array->empty() || array->is_homogeneous(toml::node_type::table));
    if (!good) return expected(where, "tables, each under its own heading in double brackets");
    for (const toml::node& item : *array) MIGSOAK_TRY(take(*item.as_table()));
    return {};
  };
}

Result<void> take_metric(const toml::table& table, const std::string& file, std::vector<Metric>& into) {
  Metric metric;
  PolicyTable keys(file, "metric");
  keys.key("subject", word(metric.subject, "the series' subject, such as \"migration\""))
      .key("name", word(metric.name, "the series' metric, such as \"downtime_ms\""))
      .key("floor", floor_of(metric.floor));
  MIGSOAK_TRY(keys.read(table));
  for (const char* name : {"subject", "name", "floor"}) {
    if (!table.contains(name)) {
      return fail(ErrorKind::bad_input,
                  keys.place(table) + fmt::format("metric.{}: missing; a metric needs subject, name and floor", name));
    }
  }
  for (const Metric& other : into) {
    if (other.subject == metric.subject && other.name == metric.name) {
      return fail(ErrorKind::bad_input,
                  keys.place(table) + fmt::format("metric.name: '{}' of '{}' is there already; "
                                                  "drop one of the two",
                                                  base::printable(metric.name), base::printable(metric.subject)));
    }
  }
  into.push_back(std::move(metric));
  return {};
}

Result<void> take_waiver(const toml::table& table, const std::string& file, std::vector<Waiver>& into) {
  Waiver waiver;
  PolicyTable keys(file, "waive");
  keys.key("fingerprint", word(waiver.fingerprint, "a finding's fingerprint"))
      .key("detector", word(waiver.detector, "a detector's name"))
      .key("process", word(waiver.process, "a finding's process"))
      .key("kind", word(waiver.kind, "a finding's kind"))
      .key("reason", word(waiver.reason, "a sentence", 1000))
      .key("expires", day(waiver.expires));
  MIGSOAK_TRY(keys.read(table));
  const std::string where = keys.place(table);
  if (waiver.fingerprint.empty() && waiver.detector.empty()) {
    return fail(ErrorKind::bad_input,
                where +
                    "waive.fingerprint: missing; say which finding: fingerprint = \"…\" as `migsoak findings` "
                    "prints it, or detector = \"…\" with process and kind");
  }
  if (!waiver.fingerprint.empty() && !(waiver.detector + waiver.process + waiver.kind).empty()) {
    return fail(ErrorKind::bad_input,
                where + "waive.fingerprint: says it all; drop detector, process and kind, or the fingerprint");
  }
  if (waiver.reason.empty()) {
    return fail(ErrorKind::bad_input, where + "waive.reason: missing; say why this may be there");
  }
  if (!table.contains("expires")) {
    return fail(ErrorKind::bad_input,
                where + "waive.expires: missing; give the last day it counts, such as 2026-12-31");
  }
  waiver.place = where.substr(0, where.size() - 2);
  into.push_back(std::move(waiver));
  return {};
}

constexpr const char* kShareWords = "a share of the iterations above 0 and at most 1, such as 0.001; 1 is no limit";

// With a fraction or an exponent, else TOML has it for a whole number; as many digits as read back.
std::string with_point(double value) {
  const std::string text = fmt::format("{}", value);
  return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}

// A value as TOML has it, quoted.
std::string quoted(const std::string& text) {
  std::ostringstream out;
  out << toml::toml_formatter(toml::array{text}, toml::format_flags::none);
  const std::string list = out.str();  // "[ "…" ]"
  const std::size_t first = list.find_first_of("\"'"), last = list.find_last_of("\"'");
  return list.substr(first, last - first + 1);
}

std::string quoted(const std::vector<std::string>& texts) {
  std::vector<std::string> parts;
  for (const std::string& text : texts) parts.push_back(quoted(text));
  return "[" + base::join(parts, ", ") + "]";
}

}  // namespace

bool Waiver::operator==(const Waiver& other) const {
  return fingerprint == other.fingerprint && detector == other.detector && process == other.process &&
         kind == other.kind && reason == other.reason && expires == other.expires;
}

std::string to_string(Day day) {
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(day.year()), static_cast<unsigned>(day.month()),
                     static_cast<unsigned>(day.day()));
}

Day today() {
  return Day(std::chrono::floor<std::chrono::days>(std::chrono::system_clock::now()));
}

Result<Policy> read_policy(const std::string& text, const std::string& file) {
  const toml::parse_result parsed = toml::parse(text, file);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    return fail(ErrorKind::bad_input,
                fmt::format("{}:{}: not TOML: {}", file, static_cast<int>(error.source().begin.line),
                            base::printable(error.description())));
  }
  Policy policy;
  std::vector<Metric> metrics;
  PolicyTable rates(file, "rates"), compare(file, "compare"), root(file, "");
  rates.key("failures_max", number(policy.failures_max, 0, 1, kShareWords))
      .key("hangs_max", number(policy.hangs_max, 0, 1, kShareWords))
      .key("losses_max", number(policy.losses_max, 0, 1, kShareWords));
  compare.key("alpha", number(policy.alpha, 0, 0.2, "a probability above 0 and at most 0.2, such as 0.01"))
      .key("change_min", number(policy.change_min, 0, 100, "a share above 0, such as 0.05 for 5 %"))
      .key("values_min", whole(policy.values_min, 8, 1'000'000))
      .key("required", yes_or_no(policy.required))
      .key("interleaved", yes_or_no(policy.interleaved))
      .key("same", words(policy.same));
  root.key("confidence", number(policy.confidence, 0.5, 0.999999, "a probability above 0.5 and below 1, such as 0.95"))
      .key("rates", table(rates))
      .key("compare", table(compare))
      .key("metric", tables([&](const toml::table& one) { return take_metric(one, file, metrics); }))
      .key("waive", tables([&](const toml::table& one) { return take_waiver(one, file, policy.waivers); }));
  MIGSOAK_TRY(root.read(parsed.table()));
  if (parsed.table().contains("metric")) policy.metrics = std::move(metrics);
  return policy;
}

Result<Policy> load_policy(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  // Bounded, and read() makes a state of what goes wrong: a directory opens, and can't be read.
  std::string text(kPolicyBytesMax + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(0, in.gcount())));
  if (!in.is_open() || in.bad()) {
    return fail(
        ErrorKind::bad_input,
        fmt::format("{}: can't read this policy; expected a TOML file as `migsoak gate --print-policy` prints it",
                    base::printable(path)));
  }
  if (text.size() > kPolicyBytesMax) {
    return fail(ErrorKind::bad_input, fmt::format("{}: larger than 1 MiB, expected a policy; `migsoak gate "
                                                  "--print-policy` prints one",
                                                  base::printable(path)));
  }
  return read_policy(text, base::printable(path));
}

std::string to_toml(const Policy& policy) {
  std::string text = fmt::format(
      "# Policy of `migsoak gate`. Keys that are left out have the values of `migsoak gate --print-policy`.\n"
      "confidence = {}  # of each one-sided bound\n"
      "\n"
      "[rates]  # greatest shares of the finished iterations; 1.0: no limit\n"
      "failures_max = {}\n"
      "hangs_max = {}\n"
      "losses_max = {}\n"
      "\n"
      "[compare]  # with a baseline\n"
      "alpha = {}  # chance that a comparison of the like with the like fails, over all that is compared\n"
      "change_min = {}  # a median that grew by less, relatively, is no change\n"
      "values_min = {}  # fewer on either side can't be compared\n"
      "required = {}  # true: what can't be compared is unknown; false: it is only told\n"
      "interleaved = {}  # what is worse fails only where the runs took turns, else it is unknown\n"
      "# Has to be the same in both runs, else figures are not compared.\n"
      "same = {}\n",
      with_point(policy.confidence), with_point(policy.failures_max), with_point(policy.hangs_max),
      with_point(policy.losses_max), with_point(policy.alpha), with_point(policy.change_min), policy.values_min,
      policy.required, policy.interleaved, quoted(policy.same));
  if (policy.metrics.empty()) text.insert(text.find("\n[rates]"), "metric = []\n");
  for (const Metric& metric : policy.metrics) {
    text += fmt::format("\n[[metric]]\nsubject = {}\nname = {}\nfloor = {}\n", quoted(metric.subject),
                        quoted(metric.name), with_point(metric.floor));
  }
  for (const Waiver& waiver : policy.waivers) {
    text += "\n[[waive]]\n";
    for (const auto& [key, value] : {std::pair<const char*, const std::string&>{"fingerprint", waiver.fingerprint},
                                     {"detector", waiver.detector},
                                     {"process", waiver.process},
                                     {"kind", waiver.kind},
                                     {"reason", waiver.reason}}) {
      if (!value.empty()) text += fmt::format("{} = {}\n", key, quoted(value));
    }
    text += fmt::format("expires = {}\n", to_string(waiver.expires));
  }
  return text;
}

}  // namespace migsoak::gate
