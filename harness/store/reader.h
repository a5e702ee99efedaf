// Internal to store: Reader, observations and series as they were given to finish(), inside a transaction of its
// caller. Holds dictionaries, bounded.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "store/connection.h"
#include "store/store.h"

namespace migsoak::store {

class Reader {
 public:
  // Borrows it.
  explicit Reader(const Connection& connection) : connection_(connection) {}

  struct SampleSet {
    std::vector<std::int64_t> series;
    std::vector<std::size_t> slots;
  };
  struct DocumentSet {
    std::vector<record::Document> documents;  // process_id by name_processes()
    std::vector<std::size_t> slots;           // as many
  };
  // A finished iteration without its documents. A block keeps its capacity from one to the next.
  struct Loaded {
    record::Observation observation;
    std::int64_t sample_set = 0, first_descriptor = 0, descriptor_count = 0, document_set = 0;
    std::vector<std::int64_t> sample_processes, document_processes;
  };
  struct Block {
    std::vector<Loaded> rows;
    std::size_t size = 0;  // of rows in use
  };
  // Values of one series as an iteration order walk meets them.
  struct Carried {
    std::int64_t loaded_to = -1;
    std::vector<std::pair<std::int64_t, double>> changes;
    std::size_t next = 0;
    std::optional<double> value;
  };
  using Carry = std::unordered_map<std::int64_t, Carried>;  // by series

  // At most `rows_max` finished iterations from `first` to `last` (read.cpp).
  base::Result<void> load_block(std::int64_t first, std::int64_t last, std::size_t rows_max, Carry& carry, Block& into);
  base::Result<DocumentSet> document_set(std::int64_t id);
  base::Result<void> name_processes(const Loaded& loaded, DocumentSet& set) const;

  // Iterations of a lane, first <= iteration < end, by sample set (tally.cpp).
  using SetCounts = std::map<std::int64_t, std::int64_t>;
  base::Result<Store::SeriesTally> tally_series(std::int64_t id,
                                                std::map<std::pair<int, std::int64_t>, SetCounts>& known);
  // Of a query whose first columns are those of read_event() and read_detail() (series.cpp).
  template <typename Visit>
  base::Result<void> each_event(Query& rows, Visit&& visit);

  base::Result<const base::Json*> json_of(std::int64_t id, const char* what);
  base::Result<const SampleSet*> sample_set(std::int64_t id);

 private:
  const Statement& statement(const char* sql) const { return connection_.statement(sql); }

  base::Result<void> load_rows(std::int64_t first, std::int64_t last, std::size_t rows_max, Block& into);
  base::Result<void> load_processes(Block& into);
  base::Result<void> load_samples(Carry& carry, Block& into);
  base::Result<void> load_descriptors(Block& into);
  base::Result<void> load_events(Block& into);
  base::Result<void> load_document_lists(Block& into);
  // Calls `visit` for each row of a query in the order of iterations, with the block's own row of that iteration.
  template <typename Visit>
  static base::Result<void> beside(Query& rows, int iteration_column, Block& block, Visit&& visit) {
    for (std::size_t i = 0; rows.step();) {
      const std::int64_t iteration = rows.integer(iteration_column);
      while (i < block.size && block.rows[i].observation.iteration < iteration) ++i;
      if (i == block.size) break;
      if (block.rows[i].observation.iteration == iteration) MIGSOAK_TRY(visit(block.rows[i]));
    }
    return {};
  }
  void carry_to(std::int64_t series, std::int64_t first, std::int64_t last, Carried& carried);
  SetCounts count_sets(int lane, std::int64_t first, std::int64_t end) const;

  base::Result<record::Plan> plan_of(std::int64_t iteration, const Query& row, int first_column);
  const std::string& text_of(std::int64_t id);
  void read_event(const Query& row, record::Event& into);  // all but the detail
  base::Result<void> read_detail(const Query& row, base::Json& into);
  const SeriesKey& series_of(std::int64_t id);

  const Connection& connection_;
  std::unordered_map<std::int64_t, SeriesKey> series_by_id_;
  std::unordered_map<std::int64_t, SampleSet> sets_by_id_;
  std::unordered_map<std::int64_t, std::string> texts_by_id_;  // short ones; bounded
  std::unordered_map<std::int64_t, base::Json> json_by_id_;    // likewise
};

}  // namespace migsoak::store
