#include "record/expected_trouble.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/text.h"
#include "record/journal.h"

namespace migsoak::record {

namespace {

constexpr std::array<std::pair<TroubleCause, const char*>, 3> kCauses = {{
    {TroubleCause::edge, "edge"},
    {TroubleCause::upgrade_failure, "upgrade-failure"},
    {TroubleCause::restart, "restart"},
}};

constexpr std::array<std::pair<TroubleSeen, const char*>, 3> kSeen = {{
    {TroubleSeen::as_declared, "as-declared"},
    {TroubleSeen::otherwise, "otherwise"},
    {TroubleSeen::nothing_happened, "nothing-happened"},
}};

std::vector<std::string> outcomes_of_restart(const std::string& expect) {
  if (expect == outcome::kIoErrors) return {outcome::kReconnects, outcome::kIoErrors};
  return {outcome::kReconnects};
}

std::vector<std::string> texts_of(const base::Json& detail, const char* key) {
  constexpr std::size_t kTextsMax = 64;
  std::vector<std::string> texts;
  const base::Json all = base::json_get(detail, key, base::Json::array());
  for (const base::Json& one : all.is_array() ? all : base::Json::array()) {
    if (one.is_string() && texts.size() < kTextsMax) texts.push_back(base::printable(one.get<std::string>()));
  }
  return texts;
}

std::optional<bool> flag_of(const base::Json& detail, const char* key) {
  const base::Json value = base::json_get(detail, key, base::Json());
  return value.is_boolean() ? std::optional(value.get<bool>()) : std::nullopt;
}

// A number out of a database that anybody may have written.
std::int64_t count_of(const base::Json& value) {
  constexpr double kCountMax = 1e12;
  if (!value.is_number()) return 0;
  const auto number = value.get<double>();
  return number >= 0 ? static_cast<std::int64_t>(std::min(number, kCountMax)) : 0;
}

// What all causes have under the same keys, in old records as well.
ExpectedTrouble common_of(const Event& event) {
  ExpectedTrouble trouble;
  const base::Json& detail = event.detail;
  trouble.text = base::printable(event.text);
  trouble.phase = event.phase;
  trouble.at_ms = event.at_ms;
  trouble.took_ms = base::json_get<double>(detail, "took_ms", 0);
  trouble.result = base::json_text(detail, "result");
  trouble.mode = base::json_text(detail, "mode");
  trouble.from = base::json_text(detail, "from");
  trouble.to = base::json_text(detail, "to");
  trouble.fate = base::json_text(detail, "fate");
  trouble.intact = flag_of(detail, "intact");
  trouble.migrates = flag_of(detail, "migrates");
  trouble.io_errors = count_of(base::json_get(detail, "io_errors", base::Json()));
  const base::Json in_flight = base::json_get(detail, "in_flight", base::Json());
  if (in_flight.is_number()) trouble.in_flight = count_of(in_flight);
  trouble.ended_guest = base::json_get<bool>(detail, "ended_guest", false);
  return trouble;
}

ExpectedTrouble from_declared_outcome(const Event& event) {
  ExpectedTrouble trouble = common_of(event);
  const std::string expect = base::json_text(event.detail, "expect");
  trouble.declared = {TroubleCause::edge, trouble.mode, "",
                      {event.subject},    {expect},     base::json_text(event.detail, "reason")};
  trouble.why = base::json_text(event.detail, "error");
  trouble.ended_guest = expect == outcome::kLost;
  trouble.fate = trouble.ended_guest ? "lost" : "source";
  return trouble;
}

ExpectedTrouble from_upgrade_failure(const Event& event) {
  ExpectedTrouble trouble = common_of(event);
  trouble.declared = {TroubleCause::upgrade_failure,
                      base::json_text(event.detail, "failure"),
                      "",
                      {event.subject},
                      {outcome::kAttemptFails},
                      ""};
  trouble.how = base::json_text(event.detail, "how");
  trouble.why = base::json_text(event.detail, "error");
  trouble.at_ms = std::max(0.0, event.at_ms - trouble.took_ms);  // it was recorded at its end
  trouble.seen = seen_of_upgrade(trouble);
  return trouble;
}

ExpectedTrouble from_target_restart(const Event& event) {
  ExpectedTrouble trouble = common_of(event);
  trouble.declared = {TroubleCause::restart,
                      base::json_text(event.detail, "how"),
                      base::json_text(event.detail, "timing"),
                      {event.subject},
                      outcomes_of_restart(base::json_text(event.detail, "expect")),
                      ""};
  trouble.why = base::json_text(event.detail, "why");
  trouble.seen = seen_of_restart(trouble);
  return trouble;
}

std::optional<ExpectedTrouble> from_expected_trouble(const Event& event) {
  ExpectedTrouble trouble = common_of(event);
  const base::Json& detail = event.detail;
  const auto cause = trouble_cause_from(base::json_text(detail, "cause"));
  if (!cause) return std::nullopt;
  trouble.declared = {*cause,
                      base::json_text(detail, "what"),
                      base::json_text(detail, "when"),
                      texts_of(detail, "subjects"),
                      texts_of(detail, "allows"),
                      base::json_text(detail, "reason")};
  trouble.how = base::json_text(detail, "how");
  trouble.why = base::json_text(detail, "why");
  // What can't be told was not as declared.
  trouble.seen = TroubleSeen::otherwise;
  const std::string seen = base::json_text(detail, "seen");
  for (const auto& [value, name] : kSeen) {
    if (seen == name) trouble.seen = value;
  }
  return trouble;
}

bool is_about(const ExpectedTrouble& trouble, const Declaration& declaration) {
  if (trouble.declared.cause != declaration.cause || trouble.declared.what != declaration.what ||
      trouble.declared.when != declaration.when) {
    return false;
  }
  return declaration.subjects.empty() ||
         std::any_of(trouble.declared.subjects.begin(), trouble.declared.subjects.end(),
                     [&](const std::string& subject) { return declaration.concerns(subject); });
}

}  // namespace

std::string to_string(TroubleCause cause) {
  for (const auto& [value, name] : kCauses) {
    if (value == cause) return name;
  }
  return "?";
}

std::optional<TroubleCause> trouble_cause_from(std::string_view name) {
  for (const auto& [value, known] : kCauses) {
    if (name == known) return value;
  }
  return std::nullopt;
}

std::string to_string(TroubleSeen seen) {
  for (const auto& [value, name] : kSeen) {
    if (value == seen) return name;
  }
  return "?";
}

bool Declaration::allowed(std::string_view what_follows) const {
  return std::find(allows.begin(), allows.end(), what_follows) != allows.end();
}

bool Declaration::concerns(std::string_view process) const {
  return std::any_of(subjects.begin(), subjects.end(), [&](const std::string& subject) {
    return process == subject || (process.starts_with(subject) && process.substr(subject.size()).starts_with('@'));
  });
}

std::vector<Declaration> declarations_of(const Plan& plan) {
  std::vector<Declaration> all;
  const std::string new_side = "qemu:" + plan.destination_side;
  if (!plan.upgrade_failure.empty()) {
    all.push_back({TroubleCause::upgrade_failure, plan.upgrade_failure, "", {new_side}, {outcome::kAttemptFails}, ""});
  }
  if (plan.expect != kExpectCompletes) {
    all.push_back({TroubleCause::edge, plan.mode, "", {new_side}, {plan.expect}, ""});
  }
  for (const PlannedRestart& restart : plan.restarts) {
    all.push_back({TroubleCause::restart,
                   restart.how,
                   restart.timing,
                   {restart.subject()},
                   // A daemon that goes cuts no connection of a QEMU's: nothing that is said of one is excused.
                   restart.daemon.empty() ? outcomes_of_restart(restart.expect) : std::vector<std::string>(),
                   ""});
  }
  return all;
}

bool declares(const Plan& plan, std::string_view what_follows) {
  const std::vector<Declaration> all = declarations_of(plan);
  return std::any_of(all.begin(), all.end(), [&](const Declaration& one) { return one.allowed(what_follows); });
}

TroubleSeen seen_of_upgrade(const ExpectedTrouble& trouble) {
  const bool lives = trouble.fate == "source" || trouble.fate == "destination";
  if (!lives || !trouble.intact.value_or(true) || !trouble.migrates.value_or(true)) return TroubleSeen::otherwise;
  return trouble.fate == "source" ? TroubleSeen::as_declared : TroubleSeen::nothing_happened;
}

TroubleSeen seen_of_restart(const ExpectedTrouble& trouble) {
  const bool declared =
      trouble.result == "recovered" || (trouble.result == "io-errors" && trouble.declared.allowed(outcome::kIoErrors));
  return declared ? TroubleSeen::as_declared : TroubleSeen::otherwise;
}

std::size_t record_trouble(Journal& journal, const ExpectedTrouble& trouble, std::int64_t process_id,
                           const base::Json& more) {
  const Declaration& declared = trouble.declared;
  auto event = journal.event(event_kind::kExpectedTrouble, declared.subjects.empty() ? "" : declared.subjects.front());
  if (!trouble.phase.empty()) event.since(trouble.phase, trouble.at_ms);
  event.process(process_id)
      .text(trouble.text)
      .detail(more)
      .detail("cause", to_string(declared.cause))
      .detail("what", declared.what)
      .detail("subjects", declared.subjects)
      .detail("allows", declared.allows)
      .detail("seen", to_string(trouble.seen))
      .detail("result", trouble.result)
      .detail("took_ms", trouble.took_ms);
  const auto put_text = [&event](const char* key, const std::string& value) {
    if (!value.empty()) event.detail(key, value);
  };
  put_text("when", declared.when);
  put_text("reason", declared.reason);
  put_text("why", trouble.why);
  put_text("mode", trouble.mode);
  put_text("from", trouble.from);
  put_text("to", trouble.to);
  put_text("fate", trouble.fate);
  put_text("how", trouble.how);
  if (trouble.intact) event.detail("intact", *trouble.intact);
  if (trouble.migrates) event.detail("migrates", *trouble.migrates);
  if (declared.cause == TroubleCause::restart) event.detail("io_errors", trouble.io_errors);
  if (trouble.in_flight) event.detail("in_flight", *trouble.in_flight);
  if (trouble.ended_guest) event.detail("ended_guest", true);
  return event.commit();
}

void record_what_did_not_happen(Journal& journal) {
  const std::vector<ExpectedTrouble> on_record = expected_troubles_of(journal.observation());
  const bool completed = journal.observation().status == IterationStatus::completed;
  for (const Declaration& declaration : declarations_of(journal.plan())) {
    const bool told = std::any_of(on_record.begin(), on_record.end(),
                                  [&](const ExpectedTrouble& trouble) { return is_about(trouble, declaration); });
    if (told) continue;
    ExpectedTrouble trouble;
    trouble.declared = declaration;
    trouble.seen = TroubleSeen::nothing_happened;
    trouble.result = kNotReached;
    if (declaration.cause == TroubleCause::edge) {
      trouble.mode = declaration.what;
      trouble.from = journal.plan().source_side;
      trouble.to = journal.plan().destination_side;
      if (completed) trouble.result = "completed";
      for (const Event& event : journal.observation().events) {
        if (event.kind != event_kind::kMigrationFailed) continue;
        trouble.seen = TroubleSeen::otherwise;
        trouble.result = base::json_get<std::string>(event.detail, "result", "failed");
        trouble.why = event.text;
      }
    }
    trouble.text = fmt::format("{} ({}) of {}: {}", to_string(declaration.cause), declaration.what,
                               base::join(declaration.subjects, ", "), trouble.result);
    record_trouble(journal, trouble, 0);
  }
}

std::optional<ExpectedTrouble> expected_trouble_from(const Event& event) {
  if (event.kind == event_kind::kExpectedTrouble) return from_expected_trouble(event);
  if (event.kind == event_kind::kDeclaredOutcome) return from_declared_outcome(event);
  if (event.kind == event_kind::kUpgradeFailure) return from_upgrade_failure(event);
  if (event.kind == event_kind::kTargetRestart) return from_target_restart(event);
  return std::nullopt;
}

std::vector<ExpectedTrouble> expected_troubles_of(const Observation& observation) {
  std::vector<ExpectedTrouble> all;
  for (const Event& event : observation.events) {
    if (auto trouble = expected_trouble_from(event)) all.push_back(std::move(*trouble));
  }
  return all;
}

bool ended_by_plan(const Observation& observation) {
  const std::vector<ExpectedTrouble> all = expected_troubles_of(observation);
  return std::any_of(all.begin(), all.end(), [](const ExpectedTrouble& one) { return one.ended_guest; });
}

}  // namespace migsoak::record
