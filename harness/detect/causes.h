// Causes: what explains what, as rules (causes.def). They go by fields, evidence and events, never by what another
// detector's finding says in words.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "record/finding.h"
#include "record/manifest.h"
#include "record/observation.h"

namespace migsoak::detect {

// All that a rule may look at.
struct CauseContext {
  const record::Manifest& manifest;
  const std::vector<record::Finding>& findings;  // of one lane
};

// What a rule says of a finding that it explains.
struct Cause {
  std::optional<std::size_t> finding;          // the one that explains it; none where a fact of the record does
  std::int64_t iteration = 0;                  // in which the two meet
  std::string words;                           // put behind the title: " (explained by …)"
  base::Json evidence = base::Json::object();  // added to the explained finding's
  std::vector<std::pair<std::size_t, base::Json>> others;  // added to the evidence of other findings
};

struct CauseRule {
  std::string_view name, summary;
  // Nothing: the rule does not take this finding, or finds no cause.
  std::optional<Cause> (*explain)(const CauseContext& context, const record::Finding& finding);
};
// In the order in which they are applied; a later one sees what an earlier one added.
const std::vector<CauseRule>& cause_rules();

// The stage after the detectors. An explained finding gets evidence.cause {"detector","fingerprint","title",
// "iteration"} where another one explains it. Severity and fingerprint stay.
void explain_causes(const record::Manifest& manifest, std::vector<record::Finding>& findings);

// One trouble shows in many events; one detector tells of it.
struct ToldRule {
  std::string_view name;
  std::string_view silent;  // the detector that leaves the event out
  std::string_view teller;  // the one whose finding holds it
  std::string_view reason;
  bool (*holds)(const record::Observation& observation, const record::Event& event);
};
const std::vector<ToldRule>& told_rules();

// Is the event of this observation told by another detector than `detector`, or with another event?
bool is_told_elsewhere(std::string_view detector, const record::Observation& observation, const record::Event& event);

// A QEMU whose exit status nobody could see, in an iteration where the libvirtd of another side hangs: its own libvirtd
// ended it when that one's keepalive failed. A libvirtd that hangs ends nothing.
bool is_ended_for_hung_daemon(const record::Event& end, const record::Event& hang);

// A migration that failed in an iteration in which a libvirtd ended unasked.
bool is_failure_of_ended_daemon(const record::Observation& observation, const record::Event& failure);

// The guest was heard from an end that it had left, after a migration that failed: it runs on both.
bool is_heard_from_both(const record::Observation& observation, const record::Event& heard);

// A line of a QEMU's log about the lost connection to a target that has ended.
bool tells_of_a_lost_target(const record::Observation& observation, const record::Event& line);

}  // namespace migsoak::detect
