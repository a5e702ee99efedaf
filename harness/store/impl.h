// Internal to store: the connection, prepared statements and dictionaries behind Store.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "store/sqlite_error.h"
#include "store/store.h"

namespace migsoak::store {

// One use of a prepared statement; resets it at the end, so that no read transaction outlives its query.
class Query {
 public:
  explicit Query(SQLite::Statement& statement) : statement_(statement) { statement_.reset(); }
  ~Query() { statement_.tryReset(); }
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  // All parameters, in order.
  template <typename... Args>
  Query& bind(const Args&... args) {
    int index = 0;
    (put(++index, args), ...);
    return *this;
  }
  bool step() { return statement_.executeStep(); }
  void run() { statement_.exec(); }

  bool is_null(int column) const { return statement_.getColumn(column).isNull(); }
  std::int64_t integer(int column) const { return statement_.getColumn(column).getInt64(); }
  int small(int column) const { return statement_.getColumn(column).getInt(); }
  double real(int column) const { return statement_.getColumn(column).getDouble(); }
  std::string text(int column) const { return statement_.getColumn(column).getString(); }

 private:
  void put(int index, std::int64_t value) { statement_.bind(index, value); }
  void put(int index, int value) { statement_.bind(index, value); }
  void put(int index, bool value) { statement_.bind(index, value ? 1 : 0); }
  void put(int index, double value) { statement_.bind(index, value); }  // SQLite keeps not-a-number as NULL
  void put(int index, const std::string& value) { statement_.bind(index, value); }
  template <typename T>
  void put(int index, const std::optional<T>& value) {
    if (value) {
      put(index, *value);
    } else {
      statement_.bind(index);
    }
  }

  SQLite::Statement& statement_;
};

// One value of Observation::samples in terms of the dictionaries.
struct SeriesKey {
  std::string subject, metric;
  int lane = 0;
  int ordinal = 0;
  auto operator<=>(const SeriesKey&) const = default;
};

struct Store::Impl {
  std::string path;
  record::Manifest manifest;
  bool writable = false;
  int schema = 0;                 // of the file; documents came with 2
  std::string scratch_directory;  // holds a private copy of the database; removed at the end

  mutable std::mutex mutex;
  std::unique_ptr<SQLite::Database> db;
  // Keyed by the literal's address. Declared after db: statements go first.
  mutable std::unordered_map<const char*, std::unique_ptr<SQLite::Statement>> statements;

  ~Impl();

  SQLite::Statement& statement(const char* sql) const;
  // Fills db and manifest, or says what is wrong with the file (open.cpp).
  base::Result<void> connect();
  base::Result<void> connect_as(const std::string& name, int flags);
  base::Result<void> check_schema();

  // Runs `work` under the mutex; SQLite's and the library's exceptions become Errors.
  template <typename Work>
  auto guarded(Work&& work) const -> decltype(work()) {
    const std::lock_guard lock(mutex);
    try {
      return work();
    } catch (const SQLite::Exception& exception) {
      return tl::unexpected<base::Error>(error_of(exception, path));
    } catch (const std::exception& exception) {
      return base::fail(base::ErrorKind::environment, "database " + path + ": " + exception.what());
    }
  }
  // The same in one write transaction; after an error the dictionaries are forgotten with it.
  base::Result<void> in_transaction(const std::function<base::Result<void>()>& work);

  // --- writing (write.cpp)
  struct LastValue {
    bool known = false;  // there is a row
    double value = 0;
  };
  struct WriteCache {
    std::unordered_map<std::string, std::int64_t> texts;
    std::unordered_map<std::string, std::int64_t> sample_sets;
    std::unordered_map<std::string, std::int64_t> document_sets;
    std::map<SeriesKey, std::int64_t> series;
    std::unordered_map<std::int64_t, LastValue> last_values;  // by series; of iterations that came in order
    std::map<int, std::int64_t> last_finished;                // by lane
    std::map<std::pair<std::int64_t, int>, std::int64_t> open_descriptors;  // (process id, fd) -> descriptor
    std::deque<std::pair<std::int64_t, std::int64_t>> ended;  // (iteration, process id) whose descriptors may go
    bool descriptors_loaded = false;
  } cache;

  std::int64_t text_id(const std::string& value);
  std::optional<std::int64_t> optional_text_id(const std::string& value);
  std::int64_t series_id(const SeriesKey& key);
  std::int64_t sample_set_id(const std::string& series, const std::string& slots);
  std::int64_t last_finished_of(int lane);
  void write_iteration(const record::Observation& observation, std::optional<record::Verdict> verdict);
  void write_processes(const record::Observation& observation);
  void write_samples(const record::Observation& observation);
  void write_value(std::int64_t series, const record::Observation& observation, double value, bool in_order);
  void write_descriptors(const record::Observation& observation);
  void write_deaths(const record::Observation& observation);
  void write_events(const record::Observation& observation);
  std::int64_t document_set_id(const std::string& documents);
  void write_documents(const record::Observation& observation);
  void load_open_descriptors();
  void forget_ended(std::int64_t iteration, const record::Observation& observation);

  // --- reading (read.cpp)
  mutable std::unordered_map<std::int64_t, SeriesKey> series_by_id;
  struct SampleSet {
    std::vector<std::int64_t> series;
    std::vector<std::size_t> slots;
  };
  mutable std::unordered_map<std::int64_t, SampleSet> sets_by_id;

  // --- documents (documents.cpp)
  struct DocumentRow {
    record::Document document;  // process_id left out
    std::size_t slot = 0;
  };
  mutable std::unordered_map<std::int64_t, std::vector<DocumentRow>> document_sets_by_id;
  base::Result<const std::vector<DocumentRow>*> document_set(std::int64_t id) const;
  base::Result<void> load_documents(record::Observation& into) const;

  base::Result<record::Observation> load(std::int64_t iteration) const;
  base::Result<void> load_series(std::int64_t id, std::vector<Point>& into) const;
  // Iterations of a lane, first <= iteration < end, by sample set.
  using SetCounts = std::map<std::int64_t, std::int64_t>;
  SetCounts count_sets(int lane, std::int64_t first, std::int64_t end) const;
  base::Result<Tally> tally_series(std::int64_t id, std::map<std::pair<int, std::int64_t>, SetCounts>& known) const;
  base::Result<void> load_samples(std::int64_t set, const std::string& processes, record::Observation& into) const;
  base::Result<void> load_events(record::Observation& into) const;
  base::Result<record::Event> event_of(const Query& row) const;  // the columns as load_events() selects them
  void load_processes(record::Observation& into) const;
  void load_descriptors(std::int64_t first, std::int64_t count, record::Observation& into) const;
  const SeriesKey& series_of(std::int64_t id) const;
  base::Result<const SampleSet*> sample_set(std::int64_t id) const;
};

// A list of integers as JSON; kind bad_input when it is something else.
base::Result<std::vector<std::int64_t>> integers_of(const std::string& text);
// Kind bad_input.
tl::unexpected<base::Error> damaged(const std::string& path, const std::string& what);
// XXH3-64 as SQLite keeps it.
std::int64_t hash_of(const std::string& value);

// JSON that this room wrote, so nested a little deeper than what came in; never throws.
base::Result<base::Json> parse_stored(const std::string& text);

// The plan as its own columns say it; iteration.plan is filled only when there is more to it.
base::Json plan_of_columns(std::int64_t iteration, const std::string& source, const std::string& destination,
                           const std::string& mode, const std::string& transport);

}  // namespace migsoak::store
