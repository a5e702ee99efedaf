// What reports read: one table at a time, in the order of iterations, without whole observations.
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "base/text.h"
#include "store/impl.h"

namespace migsoak::store {

namespace {

constexpr std::size_t kPreparedEventsMax = 128;

// A cursor over one series' changes, one row ahead.
class Changes {
 public:
  Changes(SQLite::Database& db, std::int64_t series)
      : statement_(db, "SELECT iteration, value FROM sample WHERE series = ? ORDER BY iteration"), rows_(statement_) {
    more_ = rows_.bind(series).step();
  }
  // As of `iteration`, which never goes back.
  std::optional<double> at(std::int64_t iteration) {
    while (more_ && rows_.integer(0) <= iteration) {
      value_ = rows_.is_null(1) ? std::nan("") : rows_.real(1);
      more_ = rows_.step();
    }
    return value_;
  }

 private:
  Statement statement_;
  Query rows_;
  bool more_ = false;
  std::optional<double> value_;
};

// The values of series by name, one series for each lane. Beyond the first sample of a name in an iteration nobody
// looks here.
class ValueReader {
 public:
  // Borrows both.
  ValueReader(const Connection& connection, Reader& reader, const std::vector<Store::SeriesName>& names)
      : connection_(connection), reader_(reader), names_(names.size()) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      Query rows(connection.statement("SELECT id FROM series WHERE subject = ? AND metric = ? AND ordinal = 0"));
      rows.bind(names[i].subject, names[i].metric);
      while (rows.step()) wanted_[rows.integer(0)].push_back(i);
    }
  }

  base::Result<void> read(std::int64_t iteration, std::int64_t set_id, Store::Values& into) {
    into.assign(names_, std::nullopt);
    if (set_id == 0 || wanted_.empty()) return {};
    auto known = held_.find(set_id);
    if (known == held_.end()) {
      MIGSOAK_ASSIGN(const Reader::SampleSet* set, reader_.sample_set(set_id));
      known = held_.try_emplace(set_id).first;
      for (const std::int64_t series : set->series) {
        const auto places = wanted_.find(series);
        if (places == wanted_.end()) continue;
        auto changes = changes_.find(series);
        if (changes == changes_.end()) {
          changes = changes_.emplace(series, std::make_unique<Changes>(*connection_.db, series)).first;
        }
        for (const std::size_t place : places->second) known->second.emplace_back(place, changes->second.get());
      }
    }
    for (const auto& [place, changes] : known->second) into[place] = changes->at(iteration);
    return {};
  }

 private:
  const Connection& connection_;
  Reader& reader_;
  std::size_t names_;
  std::unordered_map<std::int64_t, std::vector<std::size_t>> wanted_;  // series -> places among the names
  std::unordered_map<std::int64_t, std::unique_ptr<Changes>> changes_;
  std::unordered_map<std::int64_t, std::vector<std::pair<std::size_t, Changes*>>> held_;  // by sample set
};

// Words that are the same from row to row are told once.
template <typename Value>
class LastWord {
 public:
  template <typename Parse>
  base::Result<Value> of(std::string_view word, Parse&& parse) {
    if (!value_ || word != word_) {
      MIGSOAK_ASSIGN(value_, parse(std::string(word)));
      word_ = word;
    }
    return *value_;
  }

 private:
  std::string word_;
  std::optional<Value> value_;
};

}  // namespace

base::Result<void> Store::for_each_iteration(
    const std::vector<SeriesName>& series,
    const std::function<base::Result<void>(const IterationRow&, const Values&)>& visit) const {
  static const char* const kSelect =
      "SELECT iteration, lane, lineage, status, verdict, source, destination, mode, transport, phase, started_unix_ms, "
      "duration_ms, sample_set, machine, operations, plan FROM iteration ORDER BY iteration";
  static const char* const kOld =
      "SELECT iteration, lane, lineage, status, verdict, source, destination, mode, transport, phase, started_unix_ms, "
      "duration_ms, sample_set, NULL, NULL, plan FROM iteration ORDER BY iteration";
  return impl_->guarded([&]() -> base::Result<void> {
    SQLite::Transaction transaction(*impl_->connection.db);
    {
      ValueReader values_of(impl_->connection, impl_->reader, series);
      LastWord<record::IterationStatus> status;
      LastWord<record::Verdict> verdict;
      IterationRow row;
      Values values;
      Query rows(impl_->statement(impl_->connection.schema < 3 ? kOld : kSelect));
      while (rows.step()) {
        row.iteration = rows.integer(0);
        row.lane = rows.small(1);
        row.lineage = rows.small(2);
        MIGSOAK_ASSIGN(row.status, status.of(rows.view(3), record::iteration_status_from));
        row.verdict.reset();
        if (!rows.is_null(4)) {
          MIGSOAK_ASSIGN(row.verdict, verdict.of(rows.view(4), record::verdict_from));
        }
        row.source = rows.view(5);
        row.destination = rows.view(6);
        row.mode = rows.view(7);
        row.transport = rows.view(8);
        row.phase = rows.view(9);
        row.started_unix_ms = rows.integer(10);
        row.duration_ms = rows.real(11);
        row.machine.clear();
        row.operations = rows.integer(14);
        if (!rows.is_null(13)) {
          row.machine = rows.view(13);
        } else if (!rows.is_null(15)) {  // of an older schema
          MIGSOAK_ASSIGN(const base::Json* plan, impl_->reader.json_of(rows.integer(15), "plan"));
          row.machine = base::json_get<std::string>(*plan, "machine", "");
          row.operations = static_cast<std::int64_t>(base::json_get(*plan, "operations", base::Json::array()).size());
        }
        MIGSOAK_TRY(values_of.read(row.iteration, rows.integer(12), values));
        MIGSOAK_TRY(visit(row, values));
      }
    }
    transaction.commit();
    return {};
  });
}

base::Result<std::vector<Store::IterationRow>> Store::iterations() const {
  std::vector<IterationRow> all;
  MIGSOAK_TRY(for_each_iteration({}, [&](const IterationRow& row, const Values&) -> base::Result<void> {
    all.push_back(row);
    return {};
  }));
  return all;
}

base::Result<std::vector<Store::Tally>> Store::tallies() const {
  return impl_->guarded([&]() -> base::Result<std::vector<Tally>> {
    std::vector<Tally> all;
    Query rows(
        impl_->statement("SELECT status, verdict, count(*), sum(duration_ms) FROM iteration GROUP BY status, verdict"));
    while (rows.step()) {
      Tally& tally = all.emplace_back();
      MIGSOAK_ASSIGN(tally.status, record::iteration_status_from(rows.text(0)));
      if (!rows.is_null(1)) {
        MIGSOAK_ASSIGN(tally.verdict, record::verdict_from(rows.text(1)));
      }
      tally.count = rows.integer(2);
      tally.duration_ms = rows.real(3);
    }
    return all;
  });
}

base::Result<std::vector<Store::Point>> Store::series(const std::string& subject, const std::string& metric) const {
  std::vector<Point> points;
  MIGSOAK_TRY(for_each_iteration({{subject, metric}}, [&](const IterationRow& row, const Values& values) {
    if (values.front()) points.push_back({row.iteration, *values.front()});
    return base::Result<void>();
  }));
  return points;
}

base::Result<std::vector<Store::SeriesName>> Store::series_names() const {
  return impl_->guarded([&]() -> base::Result<std::vector<SeriesName>> {
    std::vector<SeriesName> names;
    Query rows(impl_->statement("SELECT DISTINCT subject, metric FROM series ORDER BY subject, metric"));
    while (rows.step()) names.push_back({rows.text(0), rows.text(1)});
    return names;
  });
}

base::Result<void> Store::for_each_process(
    const std::function<base::Result<void>(const record::ProcessInstance&)>& visit) const {
  return impl_->guarded([&]() -> base::Result<void> {
    record::ProcessInstance process;
    Query rows(impl_->statement(
        "SELECT id, name, pid, start_ticks, generation, command, born_iteration, fd_limit FROM process "
        "ORDER BY iteration, position"));
    while (rows.step()) {
      process.id = rows.integer(0);
      process.name = rows.view(1);
      process.pid = rows.integer(2);
      process.start_ticks = rows.integer(3);
      process.generation = rows.small(4);
      process.command = rows.view(5);
      process.born_iteration = rows.integer(6);
      process.fd_limit = rows.integer(7);
      MIGSOAK_TRY(visit(process));
    }
    return {};
  });
}

// Rows of an event query: those of read_event(), then what the caller looks at. Details repeat, in turns: each of the
// last ones is made into JSON once, with and without a time of its own.
template <typename Visit>
base::Result<void> Reader::each_event(Query& rows, Visit&& visit) {
  std::map<std::pair<std::int64_t, bool>, record::Event> prepared;
  while (rows.step()) {
    const std::pair key(rows.integer(6), rows.is_null(7));
    if (prepared.size() >= kPreparedEventsMax && !prepared.contains(key)) prepared.clear();
    const auto [entry, is_new] = prepared.try_emplace(key);
    record::Event& event = entry->second;
    if (is_new) {
      MIGSOAK_TRY(read_detail(rows, event.detail));
    } else if (!key.second && event.detail.is_object()) {
      event.detail[kTookMs] = rows.real(7);
    }
    read_event(rows, event);
    MIGSOAK_TRY(visit(event));
  }
  return {};
}

base::Result<void> Store::for_each_event_at(
    const std::string& kind,
    const std::function<base::Result<void>(const EventPlace&, const record::Event&)>& visit) const {
  // The event table first, whatever SQLite thinks: its index gives the order.
  static const char* const kSelect =
      "SELECT e.kind, e.subject, e.process_id, e.phase, e.at_ms, e.text, e.detail, e.took_ms, e.iteration, i.lane, "
      "i.lineage, i.source, i.destination FROM event e CROSS JOIN iteration i ON i.iteration = e.iteration "
      "WHERE e.kind = ? AND i.status <> 'started' ORDER BY e.iteration, e.position";
  static const char* const kOld =
      "SELECT e.kind, e.subject, e.process_id, e.phase, e.at_ms, e.text, e.detail, NULL, e.iteration, i.lane, "
      "i.lineage, i.source, i.destination FROM event e CROSS JOIN iteration i ON i.iteration = e.iteration "
      "WHERE e.kind = ? AND i.status <> 'started' ORDER BY e.iteration, e.position";
  return impl_->guarded([&]() -> base::Result<void> {
    EventPlace place;
    Query rows(impl_->statement(impl_->connection.schema < 3 ? kOld : kSelect));
    rows.bind(kind);
    return impl_->reader.each_event(rows, [&](const record::Event& event) {
      place.iteration = rows.integer(8);
      place.lane = rows.small(9);
      place.lineage = rows.small(10);
      place.source = rows.view(11);
      place.destination = rows.view(12);
      return visit(place, event);
    });
  });
}

base::Result<void> Store::for_each_event(
    const std::string& kind,
    const std::function<base::Result<void>(std::int64_t iteration, const record::Event&)>& visit) const {
  // Without a look at each event's iteration: those that were begun only are few.
  static const char* const kSelect =
      "SELECT kind, subject, process_id, phase, at_ms, text, detail, took_ms, iteration FROM event WHERE kind = ? "
      "ORDER BY iteration, position";
  static const char* const kOld =
      "SELECT kind, subject, process_id, phase, at_ms, text, detail, NULL, iteration FROM event WHERE kind = ? "
      "ORDER BY iteration, position";
  return impl_->guarded([&]() -> base::Result<void> {
    SQLite::Transaction transaction(*impl_->connection.db);
    std::optional<std::set<std::int64_t>> begun;
    base::Result<void> done;
    {
      Query rows(impl_->statement(impl_->connection.schema < 3 ? kOld : kSelect));
      rows.bind(kind);
      done = impl_->reader.each_event(rows, [&](const record::Event& event) -> base::Result<void> {
        if (!begun) {
          begun.emplace();
          Query started(impl_->statement("SELECT iteration FROM iteration WHERE status = 'started'"));
          while (started.step()) begun->insert(started.integer(0));
        }
        const std::int64_t iteration = rows.integer(8);
        if (begun->contains(iteration)) return {};
        return visit(iteration, event);
      });
    }
    if (done) transaction.commit();
    return done;
  });
}

base::Result<std::optional<std::int64_t>> Store::lineage_begin(std::int64_t iteration) const {
  return impl_->guarded([&]() -> base::Result<std::optional<std::int64_t>> {
    Query row(
        impl_->statement("SELECT min(f.iteration) FROM iteration i JOIN iteration f ON f.lane = i.lane AND f.lineage = "
                         "i.lineage AND f.iteration <= i.iteration AND f.status <> 'started' WHERE i.iteration = ? AND "
                         "i.status <> 'started'"));
    row.bind(iteration);
    std::optional<std::int64_t> begin;
    if (row.step() && !row.is_null(0)) begin = row.integer(0);
    return begin;
  });
}

}  // namespace migsoak::store
