// Internal to report: what was plugged and unplugged, as the guest confirmed it (events of kind hotplug).
#pragma once

#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "report/page.h"
#include "report/requested.h"

namespace migsoak::store {
class Store;
}

namespace migsoak::report {

struct HotplugTally {
  std::int64_t plugged = 0, unplugged = 0;  // done, and the guest was seen to have handled it
  std::int64_t unconfirmed = 0;             // everything else that was tried
  std::int64_t refused = 0;                 // by QEMU, because a migration was running: as planned
  std::int64_t skipped = 0;                 // never tried: the history had gone otherwise than planned
  void add(const HotplugTally& other);
  bool reached() const { return plugged + unplugged + refused > 0; }
};

struct HotplugKey {
  std::string kind, timing, machine;
  bool operator<(const HotplugKey& other) const {
    return std::tie(kind, timing, machine) < std::tie(other.kind, other.timing, other.machine);
  }
};

struct Coverage {
  std::map<HotplugKey, HotplugTally> rows;
  HotplugTally total;
  std::int64_t planned = 0;           // by all finished iterations
  std::int64_t events = 0;            // operations with an event
  std::vector<std::string> troubles;  // the first unconfirmed ones, in words
  // BAR0 of plugged devices where the record has it: kind to (address, size in bytes).
  std::map<std::string, std::set<std::pair<std::uint64_t, std::uint64_t>>> placements;
};

base::Result<Coverage> coverage_of(const store::Store& store);
// Where the caller has counted what was planned.
base::Result<Coverage> coverage_of(const store::Store& store, std::int64_t planned);
// Nothing when there were no operations.
void print_coverage(Page& page, const Coverage& coverage, const Requested& requested);

}  // namespace migsoak::report
