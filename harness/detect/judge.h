// Judge: folds the record, iteration by iteration, into findings. Sees nothing but the record, so that an old database
// gets the verdicts of today's detectors.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "record/finding.h"
#include "record/manifest.h"
#include "record/observation.h"

namespace migsoak::detect {

// One detector: one file, one line in detectors.def. A fold: observe() in order of iteration, findings() at any time.
class Detector {
 public:
  virtual ~Detector() = default;
  virtual void observe(const record::Observation& observation) = 0;
  // All findings so far, fingerprints unique.
  virtual std::vector<record::Finding> findings() const = 0;
  // What was seen and deliberately not reported.
  virtual std::vector<record::Exclusion> exclusions() const { return {}; }
  // Counts up whenever findings() or exclusions() would answer differently: what the judge's cache goes by.
  virtual std::uint64_t revision() const = 0;
  // Fingerprints that the last observation proved or saw again: what that iteration's verdict goes by.
  virtual const std::vector<std::string>& touched() const = 0;
  // The last observation holds something that this detector can't read: it can't tell of that iteration.
  virtual bool unreadable() const { return false; }
};

struct DetectorInfo {
  std::string name;
  std::string summary;
  std::unique_ptr<Detector> (*make)(const record::Manifest& manifest);
};
const std::vector<DetectorInfo>& detectors();

class Judge {
 public:
  explicit Judge(record::Manifest manifest);
  ~Judge();
  // Iterations of one lane come in order; lanes may interleave (each lane has its own detectors).
  void observe(const record::Observation& observation);
  // Causes explained (causes.def), severity by [gate], waives applied; sorted: fail first, then by first_iteration.
  std::vector<record::Finding> findings() const;
  std::vector<record::Exclusion> exclusions() const;
  // Counts up whenever they would be others.
  std::uint64_t revision() const;
  // pass | fail | unknown: fail with any finding of severity fail; unknown when an iteration's status is unknown (or
  // started, it holds a harness-error or read-failed event, or something that a detector can't read), or when nothing
  // was observed at all.
  record::Verdict verdict() const;
  // Of one of the last kVerdictsKept iterations that were observed, from its own status and the findings detected or
  // occurring in it; unknown for any other.
  record::Verdict verdict_of(std::int64_t iteration) const;
  static constexpr std::size_t kVerdictsKept = 1024;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The keys of [gate] that are limits, with defaults and units; the scenario parser refuses others.
struct GateLimit {
  std::string name;  // "downtime_ms_max"
  double fallback;   // value in force when the scenario does not say
  std::string summary;
};
const std::vector<GateLimit>& gate_limits();

// The reviewed list of known-benign log lines (detect/known_benign.def): name, regular expression, reason.
struct KnownBenign {
  std::string name, subject_prefix, pattern, reason;
};
const std::vector<KnownBenign>& known_benign();

// What some detectors leave out of account (detect/excusals.def): start-up behaviour, and what the scenario declares.
// Like a known-benign entry it is named, has a reason, is counted as an exclusion when it really held something back,
// and `report_benign` switches it off.
struct Excusal {
  std::string name, detectors, reason;
};
const std::vector<Excusal>& excusals();

// Every name that `report_benign` may hold: known_benign(), excusals(), volatile_config.def, device_tree_known.def.
std::vector<std::string> exclusion_names();

}  // namespace migsoak::detect
