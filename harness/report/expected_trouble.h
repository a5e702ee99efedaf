// Internal to report: what the scenario declared to go wrong, and what came of it (record/expected_trouble.h). One
// table for edges, upgrades that are made to fail and restarts of targets.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "base/result.h"
#include "record/expected_trouble.h"
#include "report/count_table.h"
#include "report/page.h"

namespace migsoak::store {
class Store;
}

namespace migsoak::report {

struct TroubleTally {
  std::int64_t declared = 0;
  // Each once.
  std::int64_t as_declared = 0, otherwise = 0, nothing = 0;
  std::int64_t not_reached = 0;  // of `nothing`: the iteration did not come to it
  // The guest afterwards, each trouble at most once: by a refused migration or in the old VM, which kept running it,
  // was resumed, or was started again from its saved state; in the new one; gone by plan; gone.
  std::int64_t stayed = 0, kept_running = 0, resumed = 0, started_again = 0, new_side = 0, ended_guest = 0, lost = 0,
               unknown = 0;
  std::int64_t intact = 0, damaged = 0;         // by the guest's own verification; neither: not asked
  std::int64_t migrated = 0, not_migrated = 0;  // the iteration's migration after it; neither: not tried
  // Restarts.
  std::int64_t recovered = 0, with_errors = 0, not_reconnected = 0;
  std::int64_t io_errors = 0;  // that the guest saw
  std::int64_t in_flight_max = kNotOnRecord;
  std::int64_t longest_ms = 0;
  void add(const TroubleTally& other);
};

// All printable and bounded.
struct TroubleKey {
  record::TroubleCause cause = record::TroubleCause::edge;
  std::string of;      // upgrade-failure: the mode; restart: the target
  std::string allows;  // what may follow
  std::string what;    // edge: the mode; upgrade-failure: the failure; restart: how it is ended
  std::string when;    // restart: its timing
  std::string ends;    // edge: "new→old"; restart: with several builds "7.2.22→11.1.2", of the iteration
  bool operator<(const TroubleKey& other) const;
};

struct ExpectedTroubles {
  std::map<TroubleKey, TroubleTally> rows;
  std::map<record::TroubleCause, TroubleTally> by_cause;
  TroubleTally total;
  std::set<std::string> targets;  // restarted
};

base::Result<ExpectedTroubles> expected_troubles_of(const store::Store& store);
// Nothing when there were none.
void print_expected_troubles(Page& page, const ExpectedTroubles& troubles);

}  // namespace migsoak::report
