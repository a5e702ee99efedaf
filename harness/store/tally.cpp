// Counting a series without listing it: a value that holds for a million iterations is one row.
#include <algorithm>
#include <limits>

#include "store/impl.h"

namespace migsoak::store {

namespace {
constexpr std::int64_t kNoEnd = std::numeric_limits<std::int64_t>::max();
}  // namespace

Reader::SetCounts Reader::count_sets(int lane, std::int64_t first, std::int64_t end) const {
  SetCounts counts;
  Query rows(
      statement("SELECT sample_set, count(*) FROM iteration WHERE lane = ? AND iteration >= ? AND iteration < ? AND "
                "sample_set IS NOT NULL GROUP BY sample_set"));
  rows.bind(lane, first, end);
  while (rows.step()) counts[rows.integer(0)] = rows.integer(1);
  return counts;
}

// `known`: stretches without an end that were counted already; several series begin in the same iteration.
base::Result<Store::SeriesTally> Reader::tally_series(std::int64_t id,
                                                      std::map<std::pair<int, std::int64_t>, SetCounts>& known) {
  const SeriesKey key = series_of(id);
  struct Stretch {
    std::int64_t first = 0;
    bool zero = false;
  };
  std::vector<Stretch> stretches;
  {
    Query changes(statement("SELECT iteration, value FROM sample WHERE series = ? ORDER BY iteration"));
    changes.bind(id);
    while (changes.step()) stretches.push_back({changes.integer(0), !changes.is_null(1) && changes.real(1) == 0});
  }
  Store::SeriesTally tally;
  for (std::size_t i = 0; i < stretches.size(); ++i) {
    const bool last = i + 1 == stretches.size();
    const auto cached = known.find({key.lane, stretches[i].first});
    const SetCounts counts = last && cached != known.end()
                                 ? cached->second
                                 : count_sets(key.lane, stretches[i].first, last ? kNoEnd : stretches[i + 1].first);
    if (last) known[{key.lane, stretches[i].first}] = counts;
    for (const auto& [set_id, count] : counts) {
      MIGSOAK_ASSIGN(const SampleSet* set, sample_set(set_id));
      if (std::find(set->series.begin(), set->series.end(), id) == set->series.end()) continue;
      tally.iterations += count;
      tally.not_zero += stretches[i].zero ? 0 : count;
    }
  }
  return tally;
}

base::Result<std::vector<Store::SeriesTally>> Store::series_tallies(const std::string& subject,
                                                                    const std::vector<std::string>& metrics) const {
  return impl_->guarded([&]() -> base::Result<std::vector<SeriesTally>> {
    std::vector<SeriesTally> sums;
    std::map<std::pair<int, std::int64_t>, Reader::SetCounts> known;
    for (const std::string& metric : metrics) {
      std::vector<std::int64_t> ids;
      {
        Query rows(impl_->statement("SELECT id FROM series WHERE subject = ? AND metric = ? AND ordinal = 0"));
        rows.bind(subject, metric);
        while (rows.step()) ids.push_back(rows.integer(0));
      }
      SeriesTally& sum = sums.emplace_back();
      for (const std::int64_t id : ids) {
        MIGSOAK_ASSIGN(const SeriesTally one, impl_->reader.tally_series(id, known));
        sum.iterations += one.iterations;
        sum.not_zero += one.not_zero;
      }
    }
    return sums;
  });
}

}  // namespace migsoak::store
