// Writing an observation: dictionaries first, then rows, changes only.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <set>

#include "base/text.h"
#include "store/writer.h"

namespace migsoak::store {

namespace {

// Dictionaries in memory are bounded: text that never repeats must not grow the harness. What is dropped is found again
// through its hash index.
constexpr std::size_t kCachedTextsMax = 4096;
constexpr std::size_t kCachedTextBytesMax = 1024;
constexpr std::size_t kCachedSetsMax = 256;

bool same_value(double a, double b) {
  return a == b || (std::isnan(a) && std::isnan(b));
}

// Columns that are NOT NULL can't hold what SQLite keeps as NULL.
double finite_or_zero(double value) {
  return std::isnan(value) ? 0.0 : value;
}

// Nothing unless it is a finite fraction: anything else stays in the JSON, where its type is kept.
std::optional<double> took_ms_of(const base::Json& detail) {
  if (!detail.is_object()) return std::nullopt;
  const auto found = detail.find(kTookMs);
  if (found == detail.end() || !found->is_number_float() || !std::isfinite(found->get<double>())) return std::nullopt;
  return found->get<double>();
}

}  // namespace

std::int64_t hash_of(const std::string& value) {
  return static_cast<std::int64_t>(base::hash64(value));
}

std::int64_t Writer::text_id(const std::string& value) {
  if (const auto it = cache_.texts.find(value); it != cache_.texts.end()) return it->second;
  std::int64_t id = 0;
  {
    Query found(statement("SELECT id FROM text WHERE hash = ? AND value = ?"));
    if (found.bind(hash_of(value), value).step()) id = found.integer(0);
  }
  if (id == 0) {
    Query(statement("INSERT INTO text (hash, value) VALUES (?, ?)")).bind(hash_of(value), value).run();
    id = last_id();
  }
  if (value.size() <= kCachedTextBytesMax) {
    if (cache_.texts.size() >= kCachedTextsMax) cache_.texts.clear();
    cache_.texts.emplace(value, id);
  }
  return id;
}

std::optional<std::int64_t> Writer::optional_text_id(const std::string& value) {
  if (value.empty()) return std::nullopt;
  return text_id(value);
}

std::int64_t Writer::series_id(const SeriesKey& key) {
  if (const auto it = cache_.series.find(key); it != cache_.series.end()) return it->second;
  std::int64_t id = 0;
  {
    Query found(statement("SELECT id FROM series WHERE subject = ? AND metric = ? AND lane = ? AND ordinal = ?"));
    if (found.bind(key.subject, key.metric, key.lane, key.ordinal).step()) id = found.integer(0);
  }
  if (id == 0) {
    Query(statement("INSERT INTO series (subject, metric, lane, ordinal) VALUES (?, ?, ?, ?)"))
        .bind(key.subject, key.metric, key.lane, key.ordinal)
        .run();
    id = last_id();
  }
  cache_.series.emplace(key, id);
  return id;
}

std::int64_t Writer::sample_set_id(const std::string& series, const std::string& slots) {
  const std::string both = series + slots;
  if (const auto it = cache_.sample_sets.find(both); it != cache_.sample_sets.end()) return it->second;
  std::int64_t id = 0;
  {
    Query found(statement("SELECT id FROM sample_set WHERE hash = ? AND series = ? AND slots = ?"));
    if (found.bind(hash_of(both), series, slots).step()) id = found.integer(0);
  }
  if (id == 0) {
    Query(statement("INSERT INTO sample_set (hash, series, slots) VALUES (?, ?, ?)"))
        .bind(hash_of(both), series, slots)
        .run();
    id = last_id();
  }
  if (cache_.sample_sets.size() >= kCachedSetsMax) cache_.sample_sets.clear();
  cache_.sample_sets.emplace(both, id);
  return id;
}

std::int64_t Writer::last_finished_of(int lane) {
  const auto it = cache_.last_finished.find(lane);
  if (it != cache_.last_finished.end()) return it->second;
  Query found(statement("SELECT coalesce(max(iteration), -1) FROM iteration WHERE lane = ? AND status <> 'started'"));
  found.bind(lane).step();
  return cache_.last_finished[lane] = found.integer(0);
}

// What the columns don't say: the same text in many iterations, or none.
std::optional<std::string> plan_beyond_columns(const record::Plan& plan, std::int64_t iteration) {
  base::Json json = record::to_json(plan);
  for (const char* column : {"source", "destination", "mode", "transport", "machine"}) json.erase(column);
  if (plan.iteration == iteration) json.erase("iteration");
  if (json.empty()) return std::nullopt;
  return base::dump_json(json);
}

void Writer::write_iteration(const record::Observation& observation, std::optional<record::Verdict> verdict) {
  const record::Plan& plan = observation.plan;
  std::optional<std::int64_t> plan_id;
  if (const auto text = plan_beyond_columns(plan, observation.iteration)) plan_id = text_id(*text);
  std::optional<std::string> verdict_name;
  if (verdict) verdict_name = record::to_string(*verdict);
  Query(statement("INSERT INTO iteration (iteration, lane, lineage, status, verdict, source, destination, mode, "
                  "transport, phase, context, started_unix_ms, duration_ms, plan, machine, operations) "
                  "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (iteration) DO UPDATE SET "
                  "lane = excluded.lane, lineage = excluded.lineage, status = excluded.status, "
                  "verdict = excluded.verdict, source = excluded.source, destination = excluded.destination, "
                  "mode = excluded.mode, transport = excluded.transport, phase = excluded.phase, "
                  "context = excluded.context, started_unix_ms = excluded.started_unix_ms, "
                  "duration_ms = excluded.duration_ms, plan = excluded.plan, machine = excluded.machine, "
                  "operations = excluded.operations"))
      .bind(observation.iteration, observation.lane, observation.lineage,
            verdict ? record::to_string(observation.status) : std::string("started"), verdict_name, plan.source_side,
            plan.destination_side, plan.mode, plan.transport, observation.phase, observation.context,
            observation.started_unix_ms, finite_or_zero(observation.duration_ms), plan_id, plan.machine,
            static_cast<std::int64_t>(plan.operations.size()))
      .run();
}

base::Result<bool> Writer::is_known(const record::ProcessInstance& process) const {
  Query row(statement(
      "SELECT name = ? AND pid = ? AND start_ticks = ? AND generation = ? AND command = ? AND born_iteration = "
      "? AND fd_limit = ? FROM process WHERE id = ?"));
  row.bind(process.name, process.pid, process.start_ticks, process.generation, process.command, process.born_iteration,
           process.fd_limit, process.id);
  if (!row.step()) return false;
  if (row.small(0) == 0) {
    return base::fail(base::ErrorKind::bad_input, fmt::format("process {} is on record already, as another one, in {}",
                                                              process.id, base::printable(connection_.path)));
  }
  return true;
}

void Writer::load_open_processes() {
  if (cache_.processes_loaded) return;
  const auto take = [&](Query& rows) {
    while (rows.step()) cache_.open_processes[rows.integer(0)] = {rows.small(1), rows.small(2)};
  };
  Query born(statement(
      "SELECT p.id, i.lane, i.lineage FROM process p JOIN iteration i ON i.iteration = p.iteration WHERE p.id "
      "NOT IN (SELECT process_id FROM process_end)"));
  take(born);
  Query again(
      statement("SELECT a.process_id, i.lane, i.lineage FROM process_again a JOIN iteration i ON i.iteration = "
                "a.iteration WHERE a.process_id NOT IN (SELECT process_id FROM process_end) ORDER BY a.iteration"));
  take(again);
  cache_.processes_loaded = true;
}

// Nobody saw these end: the lineage was over, or the session was killed. In positions below 0, which no observation
// gets back.
void Writer::close_processes(const record::Observation& observation) {
  load_open_processes();
  std::set<std::int64_t> named;
  for (const record::ProcessInstance& process : observation.processes_born) named.insert(process.id);
  int position = -1;
  for (auto open = cache_.open_processes.begin(); open != cache_.open_processes.end();) {
    const auto& [id, place] = *open;
    const bool is_over = id <= connection_.last_process_before ||
                         (place.first == observation.lane && place.second != observation.lineage);
    if (!is_over || named.contains(id)) {
      ++open;
      continue;
    }
    Query(statement("INSERT INTO process_end (iteration, position, process_id, expected, exit_code, signal, "
                    "core_dumped) VALUES (?, ?, ?, 1, -1, 0, 0)"))
        .bind(observation.iteration, position--, id)
        .run();
    cache_.ended.emplace_back(observation.iteration, id);
    open = cache_.open_processes.erase(open);
  }
}

base::Result<void> Writer::write_processes(const record::Observation& observation) {
  close_processes(observation);
  int position = 0;
  for (const record::ProcessInstance& process : observation.processes_born) {
    MIGSOAK_ASSIGN(const bool again, is_known(process));
    if (again) {
      Query(statement("INSERT INTO process_again (iteration, position, process_id) VALUES (?, ?, ?)"))
          .bind(observation.iteration, position++, process.id)
          .run();
    } else {
      Query(statement("INSERT INTO process (iteration, position, id, name, pid, start_ticks, generation, command, "
                      "born_iteration, fd_limit) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"))
          .bind(observation.iteration, position++, process.id, process.name, process.pid, process.start_ticks,
                process.generation, process.command, process.born_iteration, process.fd_limit)
          .run();
    }
    cache_.open_processes[process.id] = {observation.lane, observation.lineage};
  }
  position = 0;
  for (const record::ProcessEnd& end : observation.processes_ended) {
    Query(statement("INSERT INTO process_end (iteration, position, process_id, expected, exit_code, signal, "
                    "core_dumped, last_lines) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"))
        .bind(observation.iteration, position++, end.process_id, end.expected, end.exit_code, end.signal,
              end.core_dumped, optional_text_id(end.last_lines))
        .run();
    cache_.open_processes.erase(end.process_id);
  }
  return {};
}

void Writer::write_samples(const record::Observation& observation) {
  if (observation.samples.empty()) return;
  const bool in_order = observation.iteration > last_finished_of(observation.lane);
  std::vector<std::int64_t> ids, processes;
  std::vector<std::size_t> slots;
  std::map<std::int64_t, std::size_t> slot_of;
  std::map<std::pair<std::string, std::string>, int> seen;
  ids.reserve(observation.samples.size());
  for (const record::Sample& sample : observation.samples) {
    const int ordinal = seen[{sample.subject, sample.metric}]++;
    ids.push_back(series_id({sample.subject, sample.metric, observation.lane, ordinal}));
    const auto [slot, is_new] = slot_of.try_emplace(sample.process_id, processes.size());
    if (is_new) processes.push_back(sample.process_id);
    slots.push_back(slot->second);
    write_value(ids.back(), observation, sample.value, in_order);
  }
  const std::int64_t set =
      sample_set_id(fmt::format("[{}]", fmt::join(ids, ",")), fmt::format("[{}]", fmt::join(slots, ",")));
  Query(statement("UPDATE iteration SET sample_set = ?, processes = ? WHERE iteration = ?"))
      .bind(set, fmt::format("[{}]", fmt::join(processes, ",")), observation.iteration)
      .run();
}

// A row says: from this iteration on. An iteration that comes out of order (an interrupted one, repeated by a resumed
// run while other lanes were ahead) must not change what later ones of its lane carry forward.
void Writer::write_value(std::int64_t series, const record::Observation& observation, double value, bool in_order) {
  static const char* const kInsert =
      "INSERT INTO sample (series, iteration, value) VALUES (?, ?, ?) "
      "ON CONFLICT (series, iteration) DO UPDATE SET value = excluded.value";
  auto known = cache_.last_values.find(series);
  if (!in_order || known == cache_.last_values.end()) {
    LastValue last;
    Query before(
        statement("SELECT value FROM sample WHERE series = ? AND iteration <= ? ORDER BY iteration DESC LIMIT 1"));
    if (before.bind(series, observation.iteration).step()) {
      last = {true, before.is_null(0) ? std::nan("") : before.real(0)};
    }
    known = cache_.last_values.insert_or_assign(series, last).first;
  }
  const LastValue last = known->second;
  if (!last.known || !same_value(last.value, value)) {
    Query(statement(kInsert)).bind(series, observation.iteration, value).run();
    known->second = {true, value};
    if (!in_order && last.known) {
      Query(statement("INSERT OR IGNORE INTO sample (series, iteration, value) SELECT ?1, min(iteration), ?2 FROM "
                      "iteration WHERE iteration > ?3 AND lane = ?4 AND status <> 'started' "
                      "HAVING min(iteration) IS NOT NULL"))
          .bind(series, last.value, observation.iteration, observation.lane)
          .run();
    }
  }
  // What is known of this series is now out of order itself.
  if (!in_order) cache_.last_values.erase(known);
}

void Writer::write_events(const record::Observation& observation) {
  int position = 0;
  for (const record::Event& event : observation.events) {
    std::optional<std::int64_t> detail;
    std::optional<double> took_ms;
    if (const auto took = took_ms_of(event.detail)) {
      base::Json rest = event.detail;
      rest.erase(kTookMs);
      took_ms = took;
      if (!rest.empty()) detail = text_id(base::dump_json(rest));
    } else if (!event.detail.is_object() || !event.detail.empty()) {
      detail = text_id(base::dump_json(event.detail));
    }
    Query(statement("INSERT INTO event (iteration, position, kind, subject, process_id, phase, at_ms, text, detail, "
                    "took_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"))
        .bind(observation.iteration, position++, event.kind, event.subject, event.process_id, event.phase,
              finite_or_zero(event.at_ms), optional_text_id(event.text), detail, took_ms)
        .run();
  }
}

}  // namespace migsoak::store
