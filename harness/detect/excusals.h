// Excusals: the one rule for what a declaration of the scenario excuses (excusals.def), applied to one iteration after
// the other and counted. Each detector that leaves something out for a declaration has one.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "detect/judge.h"
#include "record/expected_trouble.h"
#include "record/manifest.h"
#include "record/observation.h"

namespace migsoak::detect {

// What a detector would report if nothing excused it.
struct Symptom {
  enum class Kind { itself, io_errors, log_line, console_line, migration_failed, guest_lost };
  Kind kind = Kind::itself;
  std::string_view subject = "";  // process, or the disk
  std::string_view phase = "";
  std::string_view which = "";             // name of the log signature; kind of the decoded migration error
  bool migration_words = false;            // of a log signature whose source is `migration`
  std::string_view text = "";              // the line; of a failed migration the device that is named
  const record::ExpectedTrouble* of = {};  // `itself`: which
};

class Excusals {
 public:
  Excusals(const record::Manifest& manifest, std::string detector);

  void begin_iteration(const record::Observation& observation);
  // What the scenario declared of this iteration and was brought about, and what came of it.
  const std::vector<record::ExpectedTrouble>& troubles() const { return troubles_; }
  bool has(record::TroubleCause cause) const;
  // How this iteration ended the targets that serve a disk, before it started them again: "kill", "graceful",
  // "graceful, kill"; empty when it did not.
  std::string restarts_of(std::string_view disk) const;
  // Does a declaration of this iteration excuse it? Then it is counted.
  bool excuse(const Symptom& symptom, std::int64_t times = 1);

  std::vector<record::Exclusion> exclusions() const;
  std::uint64_t revision() const { return revision_; }

 private:
  bool serves(const record::Declaration& declared, std::string_view disk) const;
  bool is_another_device(const record::Declaration& declared, std::string_view device) const;

  std::string detector_;
  record::GatePolicy gate_;
  std::vector<record::TargetInfo> targets_;
  std::vector<record::ExpectedTrouble> troubles_;
  std::map<std::string, std::int64_t> counts_;  // by name
  std::uint64_t revision_ = 0;
};

// The detail of the event that tells of such a trouble, as recorded: for a finding's evidence.
base::Json detail_of_trouble(const record::Observation& observation, record::TroubleCause cause);

}  // namespace migsoak::detect
