// Policy: what a gate demands. A TOML file may say so; what it leaves out has these defaults. Explained, key by key, in
// results/README.md.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/result.h"

namespace migsoak::gate {

using Day = std::chrono::year_month_day;  // of UTC
std::string to_string(Day day);           // "2026-12-31"
Day today();

// A finding that may be there until a day.
struct Waiver {
  std::string fingerprint;                     // empty: the three below
  std::string detector, process, kind;         // empty matches anything
  std::string reason;                          // never empty
  Day expires;                                 // the last day on which it counts
  std::string place;                           // "policy.toml:12", for messages
  bool operator==(const Waiver& other) const;  // wherever it stands
};

// A series of durations or sizes, of which more is worse.
struct Metric {
  std::string subject, name;  // as the record has them
  double floor = 0;           // a median that grew by less is no change; in the metric's own unit
  bool operator==(const Metric&) const = default;
};

// Shares and probabilities lie between 0 and 1.
struct Policy {
  double confidence = 0.95;  // of each one-sided bound

  // Greatest shares of the finished iterations; 1: no limit.
  double failures_max = 1, hangs_max = 1, losses_max = 1;

  // Against a baseline.
  double alpha = 0.01;       // chance that a comparison of the like with the like fails, over all that is compared
  double change_min = 0.05;  // a median that grew by less, relatively, is no change
  int values_min = 20;       // fewer on either side can't be compared
  bool required = false;     // what can't be compared is unknown; false: it is only told
  // What is worse fails only where the two runs took turns, else it is unknown: one after the other, they may have had
  // a busy host and an idle one.
  bool interleaved = true;
  // What has to be the same in both runs, else figures are not compared: "scenario", "qemu", or a key of the manifest's
  // environment.
  std::vector<std::string> same = {"scenario", "qemu",         "packages", "guest_image_hash", "boot_id", "host_kernel",
                                   "cores",    "memory_bytes", "accel",    "containment"};
  std::vector<Metric> metrics = {{"migration", "downtime_ms", 5},
                                 {"migration", "total_ms", 20},
                                 {"migration", "ram_bytes", 1 << 20},
                                 {"guest", "heartbeat_gap_ms", 5}};
  std::vector<Waiver> waivers;

  bool operator==(const Policy&) const = default;
};

// kind bad_input: one line with file, line, key, what was expected. `file` is for messages.
base::Result<Policy> read_policy(const std::string& text, const std::string& file);
base::Result<Policy> load_policy(const std::string& path);
// TOML with comments; read_policy() of it gives the same policy.
std::string to_toml(const Policy& policy);

}  // namespace migsoak::gate
