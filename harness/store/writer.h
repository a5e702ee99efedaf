// Internal to store: Writer, what finish() puts into the database, inside a transaction of its caller. Holds
// dictionaries and what is open, so that an iteration like the one before costs few rows.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "store/connection.h"
#include "store/store.h"

namespace migsoak::store {

class Writer {
 public:
  // Borrows it.
  explicit Writer(Connection& connection) : connection_(connection) {}
  // After an error, with which the transaction's rows are gone.
  void forget() { cache_ = {}; }

  std::int64_t last_finished_of(int lane);
  void note_finished(int lane, std::int64_t iteration) { cache_.last_finished[lane] = iteration; }
  void write_iteration(const record::Observation& observation, std::optional<record::Verdict> verdict);
  base::Result<void> write_processes(const record::Observation& observation);
  void write_samples(const record::Observation& observation);
  void write_descriptors(const record::Observation& observation);
  void write_events(const record::Observation& observation);
  void write_documents(const record::Observation& observation);
  void write_findings(const Store::FindingChanges& changes);
  void replace_findings(const std::vector<record::Finding>& findings, const std::vector<record::Exclusion>& exclusions);

 private:
  struct LastValue {
    bool known = false;  // there is a row
    double value = 0;
  };
  struct OpenDescriptor {
    std::int64_t id = 0;
    std::optional<std::int64_t> kind, detail;  // in text
  };
  struct WriteCache {
    std::unordered_map<std::string, std::int64_t> texts;
    std::unordered_map<std::string, std::int64_t> sample_sets;
    std::unordered_map<std::string, std::int64_t> document_sets;
    std::map<SeriesKey, std::int64_t> series;
    std::unordered_map<std::int64_t, LastValue> last_values;  // by series; of iterations that came in order
    std::map<int, std::int64_t> last_finished;                // by lane
    std::map<std::pair<std::int64_t, int>, OpenDescriptor> open_descriptors;  // by process id and fd
    std::deque<std::pair<std::int64_t, std::int64_t>> ended;  // (iteration, process id) whose descriptors may go
    bool descriptors_loaded = false;
    // Processes without an end on record, by id, and the lane and lineage that named them last.
    std::map<std::int64_t, std::pair<int, int>> open_processes;
    bool processes_loaded = false;
    std::unordered_map<std::string, std::int64_t> findings;  // fingerprint -> hash of the JSON in its row
  };

  const Statement& statement(const char* sql) const { return connection_.statement(sql); }
  std::int64_t last_id() const { return connection_.db->getLastInsertRowid(); }  // of the row that was inserted last

  // Dictionaries (write.cpp, documents.cpp).
  std::int64_t text_id(const std::string& value);
  std::optional<std::int64_t> optional_text_id(const std::string& value);
  std::int64_t series_id(const SeriesKey& key);
  std::int64_t sample_set_id(const std::string& series, const std::string& slots);
  std::int64_t document_set_id(const std::string& documents);

  base::Result<bool> is_known(const record::ProcessInstance& process) const;  // kind bad_input: as another one
  void load_open_processes();
  void close_processes(const record::Observation& observation);
  void write_value(std::int64_t series, const record::Observation& observation, double value, bool in_order);
  void write_finding(const record::Finding& finding);

  // The descriptor ledger (ledger.cpp).
  void load_open_descriptors();
  void write_deaths(const record::Observation& observation);
  void write_births(const record::Observation& observation);
  void insert_runs(const std::vector<std::pair<std::int64_t, int>>& dead, std::int64_t iteration);
  void forget_ended(std::int64_t iteration, const record::Observation& observation);

  Connection& connection_;
  WriteCache cache_;
};

}  // namespace migsoak::store
