// Which run of a directory a run is compared with.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace migsoak::store {
class Store;
}

namespace migsoak::gate {

struct Baseline {
  std::string path;            // empty: there is none
  std::int64_t looked_at = 0;  // databases of runs below the directory, this run's left out
};

// Of the databases (*.db) below `directory` the newest, by the start of its run, of the same scenario that came to its
// end and passed; never `run` itself, nor one that began after it. A night that failed is none, however often it is
// repeated: what went wrong then still fails tomorrow. What is no database of a run is passed over. kind bad_input: the
// directory can't be read, or has more than 10,000 databases.
base::Result<Baseline> newest_that_passed(const std::string& directory, const store::Store& run);

}  // namespace migsoak::gate
