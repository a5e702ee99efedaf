// Reading observations back, exactly as they were given to finish(): in blocks of iterations, each table once per
// block.
#include <charconv>
#include <cmath>

#include "base/text.h"
#include "store/reader.h"

namespace migsoak::store {

namespace {

// Details wrap what QMP or the agent said, which base::parse_json bounds already; the file itself may be hostile.
constexpr int kStoredDepthMax = 4 * base::kJsonDepthMax;

// Caches are bounded: a record whose texts never repeat must not grow the reader.
constexpr std::size_t kKeptTextsMax = 8192;
constexpr std::size_t kKeptTextBytesMax = 512;
constexpr std::size_t kKeptJsonMax = 1024;
constexpr std::size_t kKeptJsonBytesMax = 4096;

}  // namespace

tl::unexpected<base::Error> damaged(const std::string& path, const std::string& what) {
  return base::fail(base::ErrorKind::bad_input, "database " + base::printable(path) + " is damaged: " + what);
}

base::Result<std::vector<std::int64_t>> integers_of(std::string_view text) {
  const auto bad = [] { return base::fail(base::ErrorKind::bad_input, "not a list of integers"); };
  std::vector<std::int64_t> values;
  if (text.size() < 2 || text.front() != '[' || text.back() != ']') return bad();
  const char* const end = text.data() + text.size() - 1;
  for (const char* at = text.data() + 1; at < end;) {
    std::int64_t value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    if (error != std::errc() || (next != end && (*next != ',' || next + 1 == end))) return bad();
    values.push_back(value);
    at = next == end ? end : next + 1;
  }
  return values;
}

base::Result<base::Json> parse_stored(std::string_view text) {
  bool too_deep = false;
  const auto guard = [&too_deep](int depth, base::Json::parse_event_t, base::Json&) {
    too_deep = too_deep || depth > kStoredDepthMax;
    return !too_deep;
  };
  base::Json value = base::Json::parse(text, guard, /*allow_exceptions=*/false);
  if (too_deep || value.is_discarded()) return base::fail(base::ErrorKind::bad_input, "stored JSON cannot be read");
  return value;
}

const std::string& Reader::text_of(std::int64_t id) {
  if (const auto it = texts_by_id_.find(id); it != texts_by_id_.end()) return it->second;
  if (texts_by_id_.size() >= kKeptTextsMax) texts_by_id_.clear();
  Query row(statement("SELECT value FROM text WHERE id = ?"));
  std::string value;
  if (row.bind(id).step()) value = row.text(0);
  if (value.size() <= kKeptTextBytesMax) return texts_by_id_.emplace(id, std::move(value)).first->second;
  return texts_by_id_.insert_or_assign(0, std::move(value)).first->second;  // ids count from 1: this one is not kept
}

// Until the next call. A text that is not there is {}, as one that is NULL.
base::Result<const base::Json*> Reader::json_of(std::int64_t id, const char* what) {
  if (const auto it = json_by_id_.find(id); it != json_by_id_.end()) return &it->second;
  if (json_by_id_.size() >= kKeptJsonMax) json_by_id_.clear();
  Query row(statement("SELECT value FROM text WHERE id = ?"));
  base::Json value = base::Json::object();
  std::size_t bytes = 0;
  if (row.bind(id).step()) {
    bytes = row.view(0).size();
    MIGSOAK_ASSIGN(value, parse_stored(row.view(0)), "database " + base::printable(connection_.path) + ", " + what);
  }
  return &json_by_id_.insert_or_assign(bytes <= kKeptJsonBytesMax ? id : 0, std::move(value)).first->second;
}

const SeriesKey& Reader::series_of(std::int64_t id) {
  static const SeriesKey kMissing;
  if (const auto it = series_by_id_.find(id); it != series_by_id_.end()) return it->second;
  Query row(statement("SELECT subject, metric, lane, ordinal FROM series WHERE id = ?"));
  if (!row.bind(id).step()) return kMissing;
  return series_by_id_.emplace(id, SeriesKey{row.text(0), row.text(1), row.small(2), row.small(3)}).first->second;
}

base::Result<const Reader::SampleSet*> Reader::sample_set(std::int64_t id) {
  if (const auto it = sets_by_id_.find(id); it != sets_by_id_.end()) return &it->second;
  const std::string context = "database " + base::printable(connection_.path) + ", sample set";
  Query row(statement("SELECT series, slots FROM sample_set WHERE id = ?"));
  if (!row.bind(id).step()) return damaged(connection_.path, "sample set missing");
  SampleSet set;
  MIGSOAK_ASSIGN(set.series, integers_of(row.view(0)), context);
  MIGSOAK_ASSIGN(const std::vector<std::int64_t> slots, integers_of(row.view(1)), context);
  for (const std::int64_t slot : slots) set.slots.push_back(static_cast<std::size_t>(slot));
  if (set.slots.size() != set.series.size()) return damaged(connection_.path, "sample set incomplete");
  return &sets_by_id_.emplace(id, std::move(set)).first->second;
}

// Columns: source destination mode transport machine plan.
base::Result<record::Plan> Reader::plan_of(std::int64_t iteration, const Query& row, int first_column) {
  record::Plan plan;
  plan.iteration = iteration;
  plan.source_side = row.text(first_column);
  plan.destination_side = row.text(first_column + 1);
  plan.mode = row.text(first_column + 2);
  plan.transport = row.text(first_column + 3);
  if (!row.is_null(first_column + 4)) plan.machine = row.text(first_column + 4);
  if (row.is_null(first_column + 5)) return plan;
  MIGSOAK_ASSIGN(const base::Json* beyond, json_of(row.integer(first_column + 5), "plan"));
  base::Json json = record::to_json(plan);
  if (!beyond->is_object()) return damaged(connection_.path, "plan is no object");
  json.update(*beyond);
  return record::plan_from_json(json);
}

base::Result<void> Reader::load_rows(std::int64_t first, std::int64_t last, std::size_t rows_max, Block& into) {
  static const char* const kSelect =
      "SELECT iteration, lane, lineage, status, source, destination, mode, transport, machine, plan, phase, context, "
      "started_unix_ms, duration_ms, sample_set, processes, first_descriptor, descriptor_count FROM iteration "
      "WHERE iteration BETWEEN ? AND ? AND status <> 'started' ORDER BY iteration LIMIT ?";
  static const char* const kOld =
      "SELECT iteration, lane, lineage, status, source, destination, mode, transport, NULL, plan, phase, context, "
      "started_unix_ms, duration_ms, sample_set, processes, first_descriptor, descriptor_count FROM iteration "
      "WHERE iteration BETWEEN ? AND ? AND status <> 'started' ORDER BY iteration LIMIT ?";
  const std::string context = "database " + base::printable(connection_.path) + ", processes of an iteration";
  Query row(statement(connection_.schema < 3 ? kOld : kSelect));
  row.bind(first, last, static_cast<std::int64_t>(rows_max));
  into.size = 0;
  while (row.step()) {
    if (into.size == into.rows.size()) into.rows.emplace_back();
    Loaded& loaded = into.rows[into.size++];
    record::Observation& o = loaded.observation;
    o.iteration = row.integer(0);
    o.lane = row.small(1);
    o.lineage = row.small(2);
    MIGSOAK_ASSIGN(o.status, record::iteration_status_from(row.text(3)));
    MIGSOAK_ASSIGN(o.plan, plan_of(o.iteration, row, 4));
    o.phase = row.view(10);
    o.context = row.view(11);
    o.started_unix_ms = row.integer(12);
    o.duration_ms = row.real(13);
    loaded.sample_set = row.integer(14);  // 0 where it is NULL
    loaded.sample_processes.clear();
    if (!row.is_null(15)) {
      MIGSOAK_ASSIGN(loaded.sample_processes, integers_of(row.view(15)), context);
    }
    loaded.first_descriptor = row.integer(16);
    loaded.descriptor_count = row.integer(17);
    loaded.document_set = 0;
    o.processes_born.clear();
    o.processes_ended.clear();
    o.births.clear();
    o.deaths.clear();
    o.events.clear();
    o.documents.clear();
  }
  return {};
}

base::Result<void> Reader::load_processes(Block& into) {
  if (into.size == 0) return {};
  static const char* const kSelect =
      "SELECT p.iteration, p.position, p.id, p.name, p.pid, p.start_ticks, p.generation, p.command, p.born_iteration, "
      "p.fd_limit FROM process p WHERE p.iteration BETWEEN ?1 AND ?2 UNION ALL "
      "SELECT a.iteration, a.position, p.id, p.name, p.pid, p.start_ticks, p.generation, p.command, p.born_iteration, "
      "p.fd_limit FROM process_again a JOIN process p ON p.id = a.process_id WHERE a.iteration BETWEEN ?1 AND ?2 "
      "ORDER BY 1, 2";
  static const char* const kOld =
      "SELECT iteration, position, id, name, pid, start_ticks, generation, command, born_iteration, fd_limit FROM "
      "process WHERE iteration BETWEEN ?1 AND ?2 ORDER BY iteration, position";
  const std::int64_t first = into.rows.front().observation.iteration;
  const std::int64_t last = into.rows[into.size - 1].observation.iteration;
  {
    Query rows(statement(connection_.schema < 3 ? kOld : kSelect));
    rows.bind(first, last);
    MIGSOAK_TRY(beside(rows, 0, into, [&](Loaded& loaded) -> base::Result<void> {
      loaded.observation.processes_born.push_back({rows.integer(2), rows.text(3), rows.integer(4), rows.integer(5),
                                                   rows.small(6), rows.text(7), rows.integer(8), rows.integer(9)});
      return {};
    }));
  }
  Query rows(
      statement("SELECT iteration, process_id, expected, exit_code, signal, core_dumped, last_lines FROM process_end "
                "WHERE iteration BETWEEN ? AND ? AND position >= 0 ORDER BY iteration, position"));
  rows.bind(first, last);
  return beside(rows, 0, into, [&](Loaded& loaded) -> base::Result<void> {
    loaded.observation.processes_ended.push_back({rows.integer(1), rows.small(2) != 0, rows.small(3), rows.small(4),
                                                  rows.small(5) != 0, rows.is_null(6) ? "" : text_of(rows.integer(6))});
    return {};
  });
}

base::Result<void> Reader::load_descriptors(Block& into) {
  if (into.size == 0) return {};
  for (std::size_t i = 0; i < into.size; ++i) {
    const Loaded& loaded = into.rows[i];
    if (loaded.descriptor_count <= 0) continue;
    Query rows(statement("SELECT process_id, fd, kind, detail FROM descriptor WHERE id >= ? AND id < ? ORDER BY id"));
    rows.bind(loaded.first_descriptor, loaded.first_descriptor + loaded.descriptor_count);
    std::vector<record::DescriptorBirth>& births = into.rows[i].observation.births;
    while (rows.step()) {
      record::DescriptorBirth& birth = births.emplace_back();
      birth.process_id = rows.integer(0);
      birth.fd = rows.small(1);
      if (!rows.is_null(2)) birth.kind = text_of(rows.integer(2));
      if (!rows.is_null(3)) birth.detail = text_of(rows.integer(3));
    }
  }
  Query rows(statement(
      "SELECT x.iteration, d.process_id, d.fd FROM descriptor_death x CROSS JOIN descriptor d ON d.id BETWEEN "
      "x.first_id AND x.last_id WHERE x.iteration BETWEEN ? AND ? AND x.position >= 0 ORDER BY x.iteration, "
      "x.position, d.id"));
  rows.bind(into.rows.front().observation.iteration, into.rows[into.size - 1].observation.iteration);
  return beside(rows, 0, into, [&](Loaded& loaded) -> base::Result<void> {
    loaded.observation.deaths.push_back({rows.integer(1), rows.small(2)});
    return {};
  });
}

// Columns: kind subject process_id phase at_ms text detail took_ms.
void Reader::read_event(const Query& row, record::Event& into) {
  into.kind = row.view(0);
  into.subject = row.view(1);
  into.process_id = row.integer(2);
  into.phase = row.view(3);
  into.at_ms = row.real(4);
  into.text.clear();
  if (!row.is_null(5)) into.text = text_of(row.integer(5));
}

base::Result<void> Reader::read_detail(const Query& row, base::Json& into) {
  into = base::Json::object();
  if (!row.is_null(6)) {
    MIGSOAK_ASSIGN(const base::Json* detail, json_of(row.integer(6), "event"));
    into = *detail;
  }
  if (!row.is_null(7) && into.is_object()) into[kTookMs] = row.real(7);
  return {};
}

base::Result<void> Reader::load_events(Block& into) {
  if (into.size == 0) return {};
  static const char* const kSelect =
      "SELECT kind, subject, process_id, phase, at_ms, text, detail, took_ms, iteration FROM event WHERE iteration "
      "BETWEEN ? AND ? ORDER BY iteration, position";
  static const char* const kOld =
      "SELECT kind, subject, process_id, phase, at_ms, text, detail, NULL, iteration FROM event WHERE iteration "
      "BETWEEN ? AND ? ORDER BY iteration, position";
  Query rows(statement(connection_.schema < 3 ? kOld : kSelect));
  rows.bind(into.rows.front().observation.iteration, into.rows[into.size - 1].observation.iteration);
  return beside(rows, 8, into, [&](Loaded& loaded) {
    record::Event& event = loaded.observation.events.emplace_back();
    read_event(rows, event);
    return read_detail(rows, event.detail);
  });
}

void Reader::carry_to(std::int64_t series, std::int64_t first, std::int64_t last, Carried& carried) {
  if (carried.loaded_to < 0) {
    Query before(
        statement("SELECT value FROM sample WHERE series = ? AND iteration <= ? ORDER BY iteration DESC LIMIT 1"));
    if (before.bind(series, first).step()) carried.value = before.is_null(0) ? std::nan("") : before.real(0);
    carried.loaded_to = first;
  }
  if (carried.loaded_to >= last) return;
  while (carried.next < carried.changes.size()) carried.value = carried.changes[carried.next++].second;
  carried.changes.clear();
  carried.next = 0;
  Query rows(
      statement("SELECT iteration, value FROM sample WHERE series = ? AND iteration > ? AND iteration <= ? ORDER BY "
                "iteration"));
  rows.bind(series, carried.loaded_to, last);
  while (rows.step()) carried.changes.emplace_back(rows.integer(0), rows.is_null(1) ? std::nan("") : rows.real(1));
  carried.loaded_to = last;
}

base::Result<void> Reader::load_samples(Carry& carry, Block& into) {
  if (into.size == 0) return {};
  const std::int64_t first = into.rows.front().observation.iteration;
  const std::int64_t last = into.rows[into.size - 1].observation.iteration;
  for (std::size_t i = 0; i < into.size; ++i) {
    const Loaded& loaded = into.rows[i];
    std::vector<record::Sample>& samples = into.rows[i].observation.samples;
    if (loaded.sample_set == 0) {
      samples.clear();
      continue;
    }
    MIGSOAK_ASSIGN(const SampleSet* set, sample_set(loaded.sample_set));
    samples.resize(set->series.size());
    for (std::size_t at = 0; at < samples.size(); ++at) {
      if (set->slots[at] >= loaded.sample_processes.size())
        return damaged(connection_.path, "sample without its process");
      Carried& carried = carry[set->series[at]];
      carry_to(set->series[at], first, last, carried);
      while (carried.next < carried.changes.size() &&
             carried.changes[carried.next].first <= loaded.observation.iteration) {
        carried.value = carried.changes[carried.next++].second;
      }
      if (!carried.value) return damaged(connection_.path, "sample without a value");
      const SeriesKey& key = series_of(set->series[at]);
      record::Sample& sample = samples[at];
      sample.subject = key.subject;
      sample.process_id = loaded.sample_processes[set->slots[at]];
      sample.metric = key.metric;
      sample.value = *carried.value;
    }
  }
  return {};
}

base::Result<void> Reader::load_block(std::int64_t first, std::int64_t last, std::size_t rows_max, Carry& carry,
                                      Block& into) {
  MIGSOAK_TRY(load_rows(first, last, rows_max, into));
  MIGSOAK_TRY(load_processes(into));
  MIGSOAK_TRY(load_samples(carry, into));
  MIGSOAK_TRY(load_descriptors(into));
  MIGSOAK_TRY(load_events(into));
  return load_document_lists(into);
}

}  // namespace migsoak::store
