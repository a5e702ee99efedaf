// Internal to report: targets that were stopped and started again under the guest (events of kind target-restart).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>

#include "report/count_table.h"
#include "report/page.h"
#include "store/store.h"

namespace migsoak::report {

struct RestartTally {
  std::int64_t restarts = 0;
  // How they ended, each once.
  std::int64_t recovered = 0, with_errors = 0, lost = 0, not_reconnected = 0, unknown = 0;
  std::int64_t io_errors = 0;    // that the guest saw
  std::int64_t ended_guest = 0;  // of with_errors: the guest's lineage ended with it, as declared
  std::int64_t in_flight_max = kNotOnRecord;
  std::int64_t longest_ms = 0;
  void add(const RestartTally& other);
};

struct RestartKey {
  std::string target, how, timing;
  std::string builds;  // "7.2.22→11.1.2": of the iteration's source and destination; empty in a run of one build
  bool operator<(const RestartKey& other) const;
};

struct Restarts {
  std::map<RestartKey, RestartTally> rows;
  RestartTally total;
  bool several_builds = false;
};

base::Result<Restarts> restarts_of(const store::Store& store);
// Nothing when there were none.
void print_restarts(Page& page, const Restarts& restarts);

}  // namespace migsoak::report
