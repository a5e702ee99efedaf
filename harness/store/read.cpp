// Reading observations back, exactly as they were given to finish().
#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "store/impl.h"

namespace migsoak::store {

namespace {

// Details wrap what QMP or the agent said, which base::parse_json bounds already; the file itself may be hostile.
constexpr int kStoredDepthMax = 4 * base::kJsonDepthMax;

}  // namespace

tl::unexpected<base::Error> damaged(const std::string& path, const std::string& what) {
  return base::fail(base::ErrorKind::bad_input, "database " + base::printable(path) + " is damaged: " + what);
}

base::Result<std::vector<std::int64_t>> integers_of(const std::string& text) {
  MIGSOAK_ASSIGN(const base::Json json, parse_stored(text));
  std::vector<std::int64_t> values;
  if (!json.is_array()) return base::fail(base::ErrorKind::bad_input, "not a list");
  for (const base::Json& item : json) {
    if (!item.is_number_integer()) return base::fail(base::ErrorKind::bad_input, "not a list of integers");
    values.push_back(item.get<std::int64_t>());
  }
  return values;
}

base::Result<base::Json> parse_stored(const std::string& text) {
  bool too_deep = false;
  const auto guard = [&too_deep](int depth, base::Json::parse_event_t, base::Json&) {
    too_deep = too_deep || depth > kStoredDepthMax;
    return !too_deep;
  };
  base::Json value = base::Json::parse(text, guard, /*allow_exceptions=*/false);
  if (too_deep || value.is_discarded()) return base::fail(base::ErrorKind::bad_input, "stored JSON cannot be read");
  return value;
}

const SeriesKey& Store::Impl::series_of(std::int64_t id) const {
  static const SeriesKey kMissing;
  if (const auto it = series_by_id.find(id); it != series_by_id.end()) return it->second;
  Query row(statement("SELECT subject, metric, lane, ordinal FROM series WHERE id = ?"));
  if (!row.bind(id).step()) return kMissing;
  return series_by_id.emplace(id, SeriesKey{row.text(0), row.text(1), row.small(2), row.small(3)}).first->second;
}

base::Result<const Store::Impl::SampleSet*> Store::Impl::sample_set(std::int64_t id) const {
  if (const auto it = sets_by_id.find(id); it != sets_by_id.end()) return &it->second;
  Query row(statement("SELECT series, slots FROM sample_set WHERE id = ?"));
  if (!row.bind(id).step()) return damaged(path, "sample set missing");
  SampleSet set;
  MIGSOAK_ASSIGN(set.series, integers_of(row.text(0)), "database " + base::printable(path) + ", sample set");
  MIGSOAK_ASSIGN(const std::vector<std::int64_t> slots, integers_of(row.text(1)),
                 "database " + base::printable(path) + ", sample set");
  for (const std::int64_t slot : slots) set.slots.push_back(static_cast<std::size_t>(slot));
  if (set.slots.size() != set.series.size()) return damaged(path, "sample set incomplete");
  return &sets_by_id.emplace(id, std::move(set)).first->second;
}

base::Result<void> Store::Impl::load_samples(std::int64_t set_id, const std::string& processes,
                                             record::Observation& into) const {
  MIGSOAK_ASSIGN(const SampleSet* set, sample_set(set_id));
  MIGSOAK_ASSIGN(const std::vector<std::int64_t> process_ids, integers_of(processes),
                 "database " + base::printable(path) + ", processes of an iteration");
  into.samples.reserve(set->series.size());
  for (std::size_t i = 0; i < set->series.size(); ++i) {
    const SeriesKey& key = series_of(set->series[i]);
    if (set->slots[i] >= process_ids.size()) return damaged(path, "sample without its process");
    Query row(
        statement("SELECT value FROM sample WHERE series = ? AND iteration <= ? ORDER BY iteration DESC LIMIT 1"));
    if (!row.bind(set->series[i], into.iteration).step()) return damaged(path, "sample without a value");
    into.samples.push_back(
        {key.subject, process_ids[set->slots[i]], key.metric, row.is_null(0) ? std::nan("") : row.real(0)});
  }
  return {};
}

base::Result<void> Store::Impl::load_series(std::int64_t id, std::vector<Point>& into) const {
  const SeriesKey key = series_of(id);
  // Iterations of the lane beside the series' changes: one walk over both.
  Query changes(statement("SELECT iteration, value FROM sample WHERE series = ? ORDER BY iteration"));
  changes.bind(id);
  bool more = changes.step();
  double value = 0;
  std::unordered_map<std::int64_t, bool> set_has;
  Query rows(
      statement("SELECT iteration, sample_set FROM iteration WHERE lane = ? AND sample_set IS NOT NULL "
                "ORDER BY iteration"));
  rows.bind(key.lane);
  while (rows.step()) {
    const std::int64_t iteration = rows.integer(0);
    while (more && changes.integer(0) <= iteration) {
      value = changes.is_null(1) ? std::nan("") : changes.real(1);
      more = changes.step();
    }
    const auto [has, is_new] = set_has.try_emplace(rows.integer(1), false);
    if (is_new) {
      MIGSOAK_ASSIGN(const SampleSet* set, sample_set(rows.integer(1)));
      has->second = std::find(set->series.begin(), set->series.end(), id) != set->series.end();
    }
    if (has->second) into.push_back({iteration, value});
  }
  return {};
}

void Store::Impl::load_processes(record::Observation& into) const {
  {
    Query rows(
        statement("SELECT id, name, pid, start_ticks, generation, command, born_iteration, fd_limit "
                  "FROM process WHERE iteration = ? ORDER BY position"));
    rows.bind(into.iteration);
    while (rows.step()) {
      into.processes_born.push_back({rows.integer(0), rows.text(1), rows.integer(2), rows.integer(3), rows.small(4),
                                     rows.text(5), rows.integer(6), rows.integer(7)});
    }
  }
  Query rows(
      statement("SELECT e.process_id, e.expected, e.exit_code, e.signal, e.core_dumped, coalesce(t.value, '') FROM "
                "process_end e LEFT JOIN text t ON t.id = e.last_lines WHERE e.iteration = ? ORDER BY e.position"));
  rows.bind(into.iteration);
  while (rows.step()) {
    into.processes_ended.push_back(
        {rows.integer(0), rows.small(1) != 0, rows.small(2), rows.small(3), rows.small(4) != 0, rows.text(5)});
  }
}

void Store::Impl::load_descriptors(std::int64_t first, std::int64_t count, record::Observation& into) const {
  if (count > 0) {
    Query rows(
        statement("SELECT d.process_id, d.fd, coalesce(k.value, ''), coalesce(t.value, '') FROM descriptor d LEFT JOIN "
                  "text k ON k.id = d.kind LEFT JOIN text t ON t.id = d.detail WHERE d.id >= ? AND d.id < ? "
                  "ORDER BY d.id"));
    rows.bind(first, first + count);
    while (rows.step()) into.births.push_back({rows.integer(0), rows.small(1), rows.text(2), rows.text(3)});
  }
  Query rows(
      statement("SELECT d.process_id, d.fd FROM descriptor_death x JOIN descriptor d ON d.id BETWEEN x.first_id AND "
                "x.last_id WHERE x.iteration = ? ORDER BY x.position, d.id"));
  rows.bind(into.iteration);
  while (rows.step()) into.deaths.push_back({rows.integer(0), rows.small(1)});
}

base::Result<record::Event> Store::Impl::event_of(const Query& row) const {
  record::Event event;
  event.kind = row.text(0);
  event.subject = row.text(1);
  event.process_id = row.integer(2);
  event.phase = row.text(3);
  event.at_ms = row.real(4);
  event.text = row.text(5);
  if (!row.is_null(6)) {
    MIGSOAK_ASSIGN(event.detail, parse_stored(row.text(6)), "database " + base::printable(path) + ", event");
  }
  return event;
}

base::Result<void> Store::Impl::load_events(record::Observation& into) const {
  Query rows(
      statement("SELECT e.kind, e.subject, e.process_id, e.phase, e.at_ms, coalesce(t.value, ''), d.value FROM event e "
                "LEFT JOIN text t ON t.id = e.text LEFT JOIN text d ON d.id = e.detail WHERE e.iteration = ? "
                "ORDER BY e.position"));
  rows.bind(into.iteration);
  while (rows.step()) {
    MIGSOAK_ASSIGN(record::Event event, event_of(rows));
    into.events.push_back(std::move(event));
  }
  return {};
}

base::Result<void> Store::for_each_event(
    const std::string& kind,
    const std::function<base::Result<void>(std::int64_t iteration, const record::Event&)>& visit) const {
  return impl_->guarded([&]() -> base::Result<void> {
    Query rows(
        impl_->statement("SELECT e.kind, e.subject, e.process_id, e.phase, e.at_ms, coalesce(t.value, ''), d.value, "
                         "e.iteration FROM event e JOIN iteration i ON i.iteration = e.iteration LEFT JOIN text t ON "
                         "t.id = e.text LEFT JOIN text d ON d.id = e.detail WHERE e.kind = ? AND i.status <> 'started' "
                         "ORDER BY e.iteration, e.position"));
    rows.bind(kind);
    while (rows.step()) {
      MIGSOAK_ASSIGN(const record::Event event, impl_->event_of(rows));
      MIGSOAK_TRY(visit(rows.integer(7), event));
    }
    return {};
  });
}

base::Result<record::Observation> Store::Impl::load(std::int64_t iteration) const {
  record::Observation observation;
  std::int64_t first_descriptor = 0, descriptor_count = 0, set = 0;
  std::string processes;
  {
    Query row(
        statement("SELECT i.lane, i.lineage, i.status, i.source, i.destination, i.mode, i.transport, i.phase, "
                  "i.context, i.started_unix_ms, i.duration_ms, p.value, coalesce(i.sample_set, 0), "
                  "coalesce(i.processes, '[]'), coalesce(i.first_descriptor, 0), i.descriptor_count "
                  "FROM iteration i LEFT JOIN text p ON p.id = i.plan WHERE i.iteration = ?"));
    if (!row.bind(iteration).step()) {
      return base::fail(base::ErrorKind::bad_input,
                        "no iteration " + std::to_string(iteration) + " in " + base::printable(path));
    }
    observation.iteration = iteration;
    observation.lane = row.small(0);
    observation.lineage = row.small(1);
    MIGSOAK_ASSIGN(observation.status, record::iteration_status_from(row.text(2)));
    base::Json plan = plan_of_columns(iteration, row.text(3), row.text(4), row.text(5), row.text(6));
    if (!row.is_null(11)) {
      MIGSOAK_ASSIGN(plan, parse_stored(row.text(11)), "database " + base::printable(path) + ", plan");
    }
    MIGSOAK_ASSIGN(observation.plan, record::plan_from_json(plan));
    observation.phase = row.text(7);
    observation.context = row.text(8);
    observation.started_unix_ms = row.integer(9);
    observation.duration_ms = row.real(10);
    set = row.integer(12);
    processes = row.text(13);
    first_descriptor = row.integer(14);
    descriptor_count = row.integer(15);
  }
  load_processes(observation);
  if (set != 0) {
    MIGSOAK_TRY(load_samples(set, processes, observation));
  }
  load_descriptors(first_descriptor, descriptor_count, observation);
  MIGSOAK_TRY(load_events(observation));
  MIGSOAK_TRY(load_documents(observation));
  return observation;
}

}  // namespace migsoak::store
