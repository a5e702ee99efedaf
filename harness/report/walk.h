// Internal to report: what the page needs of the iterations, gathered in one walk over them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "report/matrix_fold.h"
#include "report/upgrade_count.h"
#include "store/store.h"

namespace migsoak::report {

struct Walk {
  using Values = std::vector<double>;
  // Of the series that were asked for and are on record, in the order of iterations.
  std::map<std::pair<std::string, std::string>, Values> series;  // by subject and metric
  struct Downtimes {
    Values clients, qemu;  // in ms
  };
  std::map<std::string, Downtimes> downtime;  // by mode
  Values durations;                           // of finished iterations, in ms
  double began_unix_ms = 0, ended_unix_ms = 0;
  std::int64_t operations = 0;  // that the plans of finished iterations asked for
  double ram_bytes = 0, disk_bytes = 0, written_bytes = 0;
  std::int64_t ram_iterations = 0;  // in which RAM was verified
  Upgrades upgrades;
  std::optional<Matrix> matrix;

  const Values& values_of(const std::string& subject, const std::string& metric) const;
};

// `wanted`: names of series, on record or not. `findings` are those of the store, for the matrix.
base::Result<Walk> walk(const store::Store& store, const std::vector<record::Finding>& findings,
                        const std::vector<store::Store::SeriesName>& wanted);

}  // namespace migsoak::report
