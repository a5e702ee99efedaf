// Internal to store: the connection, prepared statements and dictionaries behind Store.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>
#include <sqlite3.h>

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

// A prepared statement. SQLite's own, not the library's: a column that is read a million times must not cost a
// reference count.
class Statement {
 public:
  Statement(SQLite::Database& db, const char* sql) : db_(db.getHandle()) {
    if (::sqlite3_prepare_v2(db_, sql, -1, &handle_, nullptr) != SQLITE_OK) fail();
  }
  ~Statement() { ::sqlite3_finalize(handle_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  sqlite3_stmt* handle() const { return handle_; }
  [[noreturn]] void fail() const { throw SQLite::Exception(db_, ::sqlite3_extended_errcode(db_)); }

 private:
  sqlite3* db_;
  sqlite3_stmt* handle_ = nullptr;
};

// One use of a prepared statement; resets it at the end, so that no read transaction outlives its query.
class Query {
 public:
  explicit Query(const Statement& statement) : statement_(statement), handle_(statement.handle()) {
    ::sqlite3_reset(handle_);
  }
  ~Query() { ::sqlite3_reset(handle_); }
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  // All parameters, in order.
  template <typename... Args>
  Query& bind(const Args&... args) {
    int index = 0;
    (check(put(++index, args)), ...);
    return *this;
  }
  bool step() {
    const int code = ::sqlite3_step(handle_);
    if (code != SQLITE_ROW && code != SQLITE_DONE) statement_.fail();
    return code == SQLITE_ROW;
  }
  void run() {
    while (step()) {
    }
  }

  bool is_null(int column) const { return ::sqlite3_column_type(handle_, column) == SQLITE_NULL; }
  std::int64_t integer(int column) const { return ::sqlite3_column_int64(handle_, column); }
  int small(int column) const { return ::sqlite3_column_int(handle_, column); }
  double real(int column) const { return ::sqlite3_column_double(handle_, column); }
  std::string text(int column) const { return std::string(view(column)); }
  // Valid until the next step.
  std::string_view view(int column) const {
    const auto* bytes = static_cast<const char*>(::sqlite3_column_blob(handle_, column));
    return {bytes, static_cast<std::size_t>(::sqlite3_column_bytes(handle_, column))};
  }

 private:
  int put(int index, std::int64_t value) { return ::sqlite3_bind_int64(handle_, index, value); }
  int put(int index, int value) { return ::sqlite3_bind_int(handle_, index, value); }
  int put(int index, bool value) { return ::sqlite3_bind_int(handle_, index, value ? 1 : 0); }
  // SQLite keeps not-a-number as NULL.
  int put(int index, double value) { return ::sqlite3_bind_double(handle_, index, value); }
  int put(int index, std::string_view value) {
    return ::sqlite3_bind_text64(handle_, index, value.data() == nullptr ? "" : value.data(), value.size(),
                                 SQLITE_TRANSIENT, SQLITE_UTF8);
  }
  int put(int index, const char* value) { return put(index, std::string_view(value)); }
  template <typename T>
  int put(int index, const std::optional<T>& value) {
    return value ? put(index, *value) : ::sqlite3_bind_null(handle_, index);
  }
  void check(int code) const {
    if (code != SQLITE_OK) statement_.fail();
  }

  const Statement& statement_;
  sqlite3_stmt* handle_;
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
  int schema = 0;                        // of the file; documents came with 2
  std::int64_t last_process_before = 0;  // the largest process id of earlier sessions
  std::string scratch_directory;         // holds a private copy of the database; removed at the end

  mutable std::mutex mutex;
  std::unique_ptr<SQLite::Database> db;
  // Keyed by the literal's address. Declared after db: statements go first.
  mutable std::unordered_map<const char*, std::unique_ptr<Statement>> statements;

  ~Impl();

  const Statement& statement(const char* sql) const;
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
  } cache;

  std::int64_t text_id(const std::string& value);
  std::optional<std::int64_t> optional_text_id(const std::string& value);
  std::int64_t series_id(const SeriesKey& key);
  std::int64_t sample_set_id(const std::string& series, const std::string& slots);
  std::int64_t last_finished_of(int lane);
  void write_iteration(const record::Observation& observation, std::optional<record::Verdict> verdict);
  base::Result<void> write_processes(const record::Observation& observation);
  base::Result<bool> is_known(const record::ProcessInstance& process) const;  // kind bad_input: as another one
  void load_open_processes();
  void close_processes(const record::Observation& observation);
  void write_samples(const record::Observation& observation);
  void write_value(std::int64_t series, const record::Observation& observation, double value, bool in_order);
  void write_descriptors(const record::Observation& observation);
  void write_deaths(const record::Observation& observation);
  void write_births(const record::Observation& observation);
  void insert_runs(const std::vector<std::pair<std::int64_t, int>>& dead, std::int64_t iteration);
  void write_finding(const record::Finding& finding);
  void write_findings(const FindingChanges& changes);
  void write_events(const record::Observation& observation);
  std::int64_t document_set_id(const std::string& documents);
  void write_documents(const record::Observation& observation);
  void load_open_descriptors();
  void forget_ended(std::int64_t iteration, const record::Observation& observation);

  // --- reading (read.cpp, fold.cpp, series.cpp)
  class ValueReader;
  mutable std::unordered_map<std::int64_t, SeriesKey> series_by_id;
  struct SampleSet {
    std::vector<std::int64_t> series;
    std::vector<std::size_t> slots;
  };
  mutable std::unordered_map<std::int64_t, SampleSet> sets_by_id;
  mutable std::unordered_map<std::int64_t, std::string> texts_by_id;  // short ones; bounded
  mutable std::unordered_map<std::int64_t, base::Json> json_by_id;    // likewise

  // --- documents (documents.cpp)
  struct DocumentSet {
    std::vector<record::Document> documents;  // process_id by name_processes()
    std::vector<std::size_t> slots;           // as many
  };
  base::Result<DocumentSet> document_set(std::int64_t id) const;

  // Iterations of a lane, first <= iteration < end, by sample set (tally.cpp).
  using SetCounts = std::map<std::int64_t, std::int64_t>;
  SetCounts count_sets(int lane, std::int64_t first, std::int64_t end) const;
  base::Result<SeriesTally> tally_series(std::int64_t id,
                                         std::map<std::pair<int, std::int64_t>, SetCounts>& known) const;

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
  base::Result<void> load_block(std::int64_t first, std::int64_t last, std::size_t rows_max, Carry& carry,
                                Block& into) const;
  base::Result<void> load_rows(std::int64_t first, std::int64_t last, std::size_t rows_max, Block& into) const;
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
  base::Result<void> load_processes(Block& into) const;
  base::Result<void> load_samples(Carry& carry, Block& into) const;
  base::Result<void> load_descriptors(Block& into) const;
  base::Result<void> load_events(Block& into) const;
  base::Result<void> load_document_lists(Block& into) const;
  base::Result<void> name_processes(const Loaded& loaded, DocumentSet& set) const;
  void carry_to(std::int64_t series, std::int64_t first, std::int64_t last, Carried& carried) const;

  base::Result<record::Plan> plan_of(std::int64_t iteration, const Query& row, int first_column) const;
  const std::string& text_of(std::int64_t id) const;
  base::Result<const base::Json*> json_of(std::int64_t id, const char* what) const;
  void read_event(const Query& row, record::Event& into) const;  // all but the detail
  template <typename Visit>
  base::Result<void> each_event(Query& rows, Visit&& visit) const;
  base::Result<void> read_detail(const Query& row, base::Json& into) const;
  const SeriesKey& series_of(std::int64_t id) const;
  base::Result<const SampleSet*> sample_set(std::int64_t id) const;
};

// A key of event details that has a column of its own.
inline constexpr const char* kTookMs = "took_ms";

// A list of integers as JSON; kind bad_input when it is something else.
base::Result<std::vector<std::int64_t>> integers_of(std::string_view text);
// Kind bad_input.
tl::unexpected<base::Error> damaged(const std::string& path, const std::string& what);
// XXH3-64 as SQLite keeps it.
std::int64_t hash_of(const std::string& value);

// JSON that this room wrote, so nested a little deeper than what came in; never throws.
base::Result<base::Json> parse_stored(std::string_view text);

}  // namespace migsoak::store
