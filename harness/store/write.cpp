// Writing an observation: dictionaries first, then rows, changes only.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "base/text.h"
#include "store/impl.h"

namespace migsoak::store {

namespace {

// Dictionaries in memory are bounded: text that never repeats must not grow the harness. What is dropped is found again
// through its hash index.
constexpr std::size_t kCachedTextsMax = 4096;
constexpr std::size_t kCachedTextBytesMax = 1024;
constexpr std::size_t kCachedSetsMax = 256;
// Descriptors of an ended process may still be reported dead for so many iterations.
constexpr std::int64_t kEndedKeptIterations = 8;

bool same_value(double a, double b) {
  return a == b || (std::isnan(a) && std::isnan(b));
}

// Columns that are NOT NULL can't hold what SQLite keeps as NULL.
double finite_or_zero(double value) {
  return std::isnan(value) ? 0.0 : value;
}

}  // namespace

std::int64_t hash_of(const std::string& value) {
  return static_cast<std::int64_t>(base::hash64(value));
}

std::int64_t Store::Impl::text_id(const std::string& value) {
  if (const auto it = cache.texts.find(value); it != cache.texts.end()) return it->second;
  std::int64_t id = 0;
  {
    Query found(statement("SELECT id FROM text WHERE hash = ? AND value = ?"));
    if (found.bind(hash_of(value), value).step()) id = found.integer(0);
  }
  if (id == 0) {
    Query(statement("INSERT INTO text (hash, value) VALUES (?, ?)")).bind(hash_of(value), value).run();
    id = db->getLastInsertRowid();
  }
  if (value.size() <= kCachedTextBytesMax) {
    if (cache.texts.size() >= kCachedTextsMax) cache.texts.clear();
    cache.texts.emplace(value, id);
  }
  return id;
}

std::optional<std::int64_t> Store::Impl::optional_text_id(const std::string& value) {
  if (value.empty()) return std::nullopt;
  return text_id(value);
}

std::int64_t Store::Impl::series_id(const SeriesKey& key) {
  if (const auto it = cache.series.find(key); it != cache.series.end()) return it->second;
  std::int64_t id = 0;
  {
    Query found(statement("SELECT id FROM series WHERE subject = ? AND metric = ? AND lane = ? AND ordinal = ?"));
    if (found.bind(key.subject, key.metric, key.lane, key.ordinal).step()) id = found.integer(0);
  }
  if (id == 0) {
    Query(statement("INSERT INTO series (subject, metric, lane, ordinal) VALUES (?, ?, ?, ?)"))
        .bind(key.subject, key.metric, key.lane, key.ordinal)
        .run();
    id = db->getLastInsertRowid();
  }
  cache.series.emplace(key, id);
  return id;
}

std::int64_t Store::Impl::sample_set_id(const std::string& series, const std::string& slots) {
  const std::string both = series + slots;
  if (const auto it = cache.sample_sets.find(both); it != cache.sample_sets.end()) return it->second;
  std::int64_t id = 0;
  {
    Query found(statement("SELECT id FROM sample_set WHERE hash = ? AND series = ? AND slots = ?"));
    if (found.bind(hash_of(both), series, slots).step()) id = found.integer(0);
  }
  if (id == 0) {
    Query(statement("INSERT INTO sample_set (hash, series, slots) VALUES (?, ?, ?)"))
        .bind(hash_of(both), series, slots)
        .run();
    id = db->getLastInsertRowid();
  }
  if (cache.sample_sets.size() >= kCachedSetsMax) cache.sample_sets.clear();
  cache.sample_sets.emplace(both, id);
  return id;
}

std::int64_t Store::Impl::last_finished_of(int lane) {
  const auto it = cache.last_finished.find(lane);
  if (it != cache.last_finished.end()) return it->second;
  Query found(statement("SELECT coalesce(max(iteration), -1) FROM iteration WHERE lane = ? AND status <> 'started'"));
  found.bind(lane).step();
  return cache.last_finished[lane] = found.integer(0);
}

base::Json plan_of_columns(std::int64_t iteration, const std::string& source, const std::string& destination,
                           const std::string& mode, const std::string& transport) {
  record::Plan plan;
  plan.iteration = iteration;
  plan.source_side = source;
  plan.destination_side = destination;
  plan.mode = mode;
  plan.transport = transport;
  return record::to_json(plan);
}

void Store::Impl::write_iteration(const record::Observation& observation, std::optional<record::Verdict> verdict) {
  const record::Plan& plan = observation.plan;
  const base::Json as_json = record::to_json(plan);
  std::optional<std::int64_t> plan_id;
  if (as_json !=
      plan_of_columns(observation.iteration, plan.source_side, plan.destination_side, plan.mode, plan.transport)) {
    plan_id = text_id(base::dump_json(as_json));
  }
  std::optional<std::string> verdict_name;
  if (verdict) verdict_name = record::to_string(*verdict);
  Query(statement("INSERT INTO iteration (iteration, lane, lineage, status, verdict, source, destination, mode, "
                  "transport, phase, context, started_unix_ms, duration_ms, plan) "
                  "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (iteration) DO UPDATE SET "
                  "lane = excluded.lane, lineage = excluded.lineage, status = excluded.status, "
                  "verdict = excluded.verdict, source = excluded.source, destination = excluded.destination, "
                  "mode = excluded.mode, transport = excluded.transport, phase = excluded.phase, "
                  "context = excluded.context, started_unix_ms = excluded.started_unix_ms, "
                  "duration_ms = excluded.duration_ms, plan = excluded.plan"))
      .bind(observation.iteration, observation.lane, observation.lineage,
            verdict ? record::to_string(observation.status) : std::string("started"), verdict_name, plan.source_side,
            plan.destination_side, plan.mode, plan.transport, observation.phase, observation.context,
            observation.started_unix_ms, finite_or_zero(observation.duration_ms), plan_id)
      .run();
}

void Store::Impl::write_processes(const record::Observation& observation) {
  int position = 0;
  for (const record::ProcessInstance& process : observation.processes_born) {
    Query(statement("INSERT INTO process (iteration, position, id, name, pid, start_ticks, generation, command, "
                    "born_iteration, fd_limit) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"))
        .bind(observation.iteration, position++, process.id, process.name, process.pid, process.start_ticks,
              process.generation, process.command, process.born_iteration, process.fd_limit)
        .run();
  }
  position = 0;
  for (const record::ProcessEnd& end : observation.processes_ended) {
    Query(statement("INSERT INTO process_end (iteration, position, process_id, expected, exit_code, signal, "
                    "core_dumped, last_lines) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"))
        .bind(observation.iteration, position++, end.process_id, end.expected, end.exit_code, end.signal,
              end.core_dumped, optional_text_id(end.last_lines))
        .run();
  }
}

void Store::Impl::write_samples(const record::Observation& observation) {
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
void Store::Impl::write_value(std::int64_t series, const record::Observation& observation, double value,
                              bool in_order) {
  static const char* const kInsert =
      "INSERT INTO sample (series, iteration, value) VALUES (?, ?, ?) "
      "ON CONFLICT (series, iteration) DO UPDATE SET value = excluded.value";
  auto known = cache.last_values.find(series);
  if (!in_order || known == cache.last_values.end()) {
    LastValue last;
    Query before(
        statement("SELECT value FROM sample WHERE series = ? AND iteration <= ? ORDER BY iteration DESC LIMIT 1"));
    if (before.bind(series, observation.iteration).step()) {
      last = {true, before.is_null(0) ? std::nan("") : before.real(0)};
    }
    known = cache.last_values.insert_or_assign(series, last).first;
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
  if (!in_order) cache.last_values.erase(known);
}

void Store::Impl::load_open_descriptors() {
  if (cache.descriptors_loaded) return;
  Query open(
      statement("SELECT id, process_id, fd FROM descriptor_life d WHERE died_iteration IS NULL AND born_iteration IS "
                "NOT NULL AND NOT EXISTS (SELECT 1 FROM process_end e WHERE e.process_id = d.process_id) ORDER BY id"));
  while (open.step()) cache.open_descriptors[{open.integer(1), open.small(2)}] = open.integer(0);
  cache.descriptors_loaded = true;
}

void Store::Impl::write_deaths(const record::Observation& observation) {
  struct Run {
    std::int64_t first, last;
    int position;
  };
  std::vector<Run> runs;
  int position = 0;
  for (const record::DescriptorDeath& death : observation.deaths) {
    std::int64_t id = 0;
    const auto open = cache.open_descriptors.find({death.process_id, death.fd});
    if (open != cache.open_descriptors.end()) {
      id = open->second;
      cache.open_descriptors.erase(open);
    } else {
      Query(statement("INSERT INTO descriptor (process_id, fd) VALUES (?, ?)")).bind(death.process_id, death.fd).run();
      id = db->getLastInsertRowid();
    }
    if (!runs.empty() && runs.back().last + 1 == id) {
      runs.back().last = id;
    } else {
      runs.push_back({id, id, position});
    }
    ++position;
  }
  for (const Run& run : runs) {
    Query(statement("INSERT INTO descriptor_death (first_id, last_id, iteration, position) VALUES (?, ?, ?, ?)"))
        .bind(run.first, run.last, observation.iteration, run.position)
        .run();
  }
}

void Store::Impl::write_descriptors(const record::Observation& observation) {
  if (observation.births.empty() && observation.deaths.empty() && observation.processes_ended.empty()) return;
  load_open_descriptors();
  // Deaths first: a number may die and be born again within one iteration.
  write_deaths(observation);
  std::int64_t first = 0;
  for (const record::DescriptorBirth& birth : observation.births) {
    Query(statement("INSERT INTO descriptor (process_id, fd, kind, detail, born_iteration) VALUES (?, ?, ?, ?, ?)"))
        .bind(birth.process_id, birth.fd, text_id(birth.kind), optional_text_id(birth.detail), observation.iteration)
        .run();
    const std::int64_t id = db->getLastInsertRowid();
    if (first == 0) first = id;
    cache.open_descriptors[{birth.process_id, birth.fd}] = id;
  }
  if (first != 0) {
    Query(statement("UPDATE iteration SET first_descriptor = ?, descriptor_count = ? WHERE iteration = ?"))
        .bind(first, static_cast<std::int64_t>(observation.births.size()), observation.iteration)
        .run();
  }
  forget_ended(observation.iteration, observation);
}

// Keeps the ledger in memory as small as the topology: descriptors of processes long gone are not asked for again.
void Store::Impl::forget_ended(std::int64_t iteration, const record::Observation& observation) {
  for (const record::ProcessEnd& end : observation.processes_ended) cache.ended.emplace_back(iteration, end.process_id);
  while (!cache.ended.empty() && cache.ended.front().first + kEndedKeptIterations < iteration) {
    const std::int64_t process = cache.ended.front().second;
    cache.ended.pop_front();
    const auto begin = cache.open_descriptors.lower_bound({process, std::numeric_limits<int>::min()});
    auto end = begin;
    while (end != cache.open_descriptors.end() && end->first.first == process) ++end;
    cache.open_descriptors.erase(begin, end);
  }
}

void Store::Impl::write_events(const record::Observation& observation) {
  int position = 0;
  for (const record::Event& event : observation.events) {
    const bool plain = event.detail.is_object() && event.detail.empty();
    std::optional<std::int64_t> detail;
    if (!plain) detail = text_id(base::dump_json(event.detail));
    Query(statement("INSERT INTO event (iteration, position, kind, subject, process_id, phase, at_ms, text, detail) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"))
        .bind(observation.iteration, position++, event.kind, event.subject, event.process_id, event.phase,
              finite_or_zero(event.at_ms), optional_text_id(event.text), detail)
        .run();
  }
}

}  // namespace migsoak::store
