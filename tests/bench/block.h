// A block: one lineage of a loop under measurement, and what was measured of it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "scenario/scenario.h"

namespace migsoak::bench {

struct BlockSize {
  int untimed = 5;  // first migrations of a lineage: the guest's memory is not in its final state yet
  int timed = 25;
};

struct Block {
  double iterations_per_s = 0;     // by the wall clock over all timed iterations, whatever lies between them included
  std::vector<double> periods_ms;  // from the start of one timed iteration to that of the next
  std::map<std::string, std::vector<double>> phases_ms;  // of the timed iterations
};

// Spawn, migrate, wait for the guest's first heartbeat on the destination, quit the source. Nothing else.
base::Result<Block> run_bare_block(const scenario::Scenario& scenario, const BlockSize& size);

// The soak loop as `migsoak run` runs it, to a database at `db_path`. An iteration that did not complete, or a finding,
// is an error: such a block measures something else.
base::Result<Block> run_full_block(const scenario::Scenario& scenario, const BlockSize& size,
                                   const std::string& db_path);

}  // namespace migsoak::bench
