// Expected trouble: what a scenario declares to go wrong or has go wrong, and what came of it. A declared edge, an
// upgrade that is made to fail and a target or a daemon that is restarted are declarations of one kind: each names whom
// it concerns and what may follow, each is on record as one event, and what may follow is all that detect/excusals.def
// excuses.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "record/observation.h"
#include "record/plan.h"

namespace migsoak::record {

class Journal;

enum class TroubleCause {
  edge,             // a migration of which the scenario says how it ends
  upgrade_failure,  // an attempt at the migration that is made to fail
  restart,          // a vhost target or a libvirtd is stopped and started again
};
std::string to_string(TroubleCause cause);
std::optional<TroubleCause> trouble_cause_from(std::string_view name);

// What may follow.
namespace outcome {
inline constexpr const char* kRefused = "refused";             // the migration fails, the guest stays on the source
inline constexpr const char* kLost = "lost";                   // the guest does not survive
inline constexpr const char* kAttemptFails = "attempt-fails";  // the new side fails or hangs; the guest survives
inline constexpr const char* kReconnects = "reconnects";       // connections are cut, and come back
inline constexpr const char* kIoErrors = "io-errors";          // requests in flight end in errors, or never
}  // namespace outcome

struct Declaration {
  TroubleCause cause = TroubleCause::edge;
  std::string what;                   // edge: the mode; upgrade-failure: ops/upgrade_failures; restart: how it is ended
  std::string when;                   // restart: its timing
  std::vector<std::string> subjects;  // processes; "target:disk0" stands for its instances, "target:disk0@a", too
  std::vector<std::string> allows;    // of `outcome`
  std::string reason;                 // the scenario's, where it gives one

  bool allowed(std::string_view what_follows) const;
  // "target:disk0@a" is an instance of "target:disk0".
  bool concerns(std::string_view process) const;
};

// All that the plan declares, in the order in which it comes about.
std::vector<Declaration> declarations_of(const Plan& plan);
bool declares(const Plan& plan, std::string_view what_follows);

enum class TroubleSeen { as_declared, otherwise, nothing_happened };
std::string to_string(TroubleSeen seen);
// Result of what the iteration did not come to.
inline constexpr const char* kNotReached = "not-reached";

struct ExpectedTrouble {
  Declaration declared;
  TroubleSeen seen = TroubleSeen::as_declared;
  std::string result;  // edge, upgrade-failure: of ops::MigrationResult; restart: "recovered" | "io-errors" | "lost" |
                       // "not-reconnected". Nothing happened: "completed" | "not-reached"
  std::string phase;   // in which it began; empty when it is recorded: the journal's, now
  double at_ms = 0;    // when it began, since the iteration did
  double took_ms = 0;  // until the guest's side of it was over: refused, rescued, connected again
  std::string text;    // one line
  std::string why;     // the error, in the words of whoever failed
  std::string mode;    // edge, upgrade-failure: of the migration
  std::string from, to;  // edge: sides
  // What became of the guest.
  std::string fate;  // "source" | "destination": which VM runs it; "lost" | "unknown"; empty: it is where it was
  std::string how;   // upgrade-failure: "kept-running" | "resumed" | "started-again" (from its saved state)
  std::optional<bool> intact;             // verified afterwards; absent: not asked
  std::optional<bool> migrates;           // the iteration's migration completed afterwards; absent: not tried
  std::int64_t io_errors = 0;             // that the guest saw
  std::optional<std::int64_t> in_flight;  // writes that the guest waited for
  bool ended_guest = false;               // its life ended with this, by plan
};

// What the figures say of it.
TroubleSeen seen_of_upgrade(const ExpectedTrouble& trouble);
TroubleSeen seen_of_restart(const ExpectedTrouble& trouble);

// `more`: keys of the event's detail that are no member here; results/README.md lists all. Returns the event's place in
// the journal.
std::size_t record_trouble(Journal& journal, const ExpectedTrouble& trouble, std::int64_t process_id,
                           const base::Json& more = base::Json::object());
// At the end of an iteration: what its plan declares and did not come about goes on record as such.
void record_what_did_not_happen(Journal& journal);

// Of an event of any kind in kTroubleEvents; nothing: it is none. Shapes are not trusted.
std::optional<ExpectedTrouble> expected_trouble_from(const Event& event);
std::vector<ExpectedTrouble> expected_troubles_of(const Observation& observation);
// The guest's life ended with one of them, by plan.
bool ended_by_plan(const Observation& observation);

// The kind that is recorded, and those of records made before there was one.
inline constexpr const char* kTroubleEvents[] = {event_kind::kExpectedTrouble, event_kind::kDeclaredOutcome,
                                                 event_kind::kUpgradeFailure, event_kind::kTargetRestart};

}  // namespace migsoak::record
