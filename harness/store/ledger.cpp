// Writing the descriptor ledger: births as they were told, deaths as runs of ids that died together.
#include <limits>

#include "store/writer.h"

namespace migsoak::store {

namespace {

// Descriptors of an ended process may still be reported dead for so many iterations.
constexpr std::int64_t kEndedKeptIterations = 8;

// Position of a death that no observation told.
constexpr int kNotTold = -1;

}  // namespace

void Writer::load_open_descriptors() {
  if (cache_.descriptors_loaded) return;
  Query open(statement(
      "SELECT d.id, d.process_id, d.fd, d.kind, d.detail FROM descriptor d WHERE d.born_iteration IS NOT NULL "
      "AND d.process_id NOT IN (SELECT process_id FROM process_end) AND coalesce((SELECT x.last_id FROM "
      "descriptor_death x WHERE x.first_id <= d.id ORDER BY x.first_id DESC LIMIT 1), 0) < d.id ORDER BY d.id"));
  while (open.step()) {
    OpenDescriptor& descriptor = cache_.open_descriptors[{open.integer(1), open.small(2)}];
    descriptor = {open.integer(0), std::nullopt, std::nullopt};
    if (!open.is_null(3)) descriptor.kind = open.integer(3);
    if (!open.is_null(4)) descriptor.detail = open.integer(4);
  }
  cache_.descriptors_loaded = true;
}

// dead: ids and positions, in the order in which they were told.
void Writer::insert_runs(const std::vector<std::pair<std::int64_t, int>>& dead, std::int64_t iteration) {
  for (std::size_t first = 0, next = 0; first < dead.size(); first = next) {
    next = first + 1;
    while (next < dead.size() && dead[next].first == dead[next - 1].first + 1) ++next;
    Query(statement("INSERT INTO descriptor_death (first_id, last_id, iteration, position) VALUES (?, ?, ?, ?)"))
        .bind(dead[first].first, dead[next - 1].first, iteration, dead[first].second)
        .run();
  }
}

void Writer::write_deaths(const record::Observation& observation) {
  std::vector<std::pair<std::int64_t, int>> dead;
  int position = 0;
  for (const record::DescriptorDeath& death : observation.deaths) {
    std::int64_t id = 0;
    const auto open = cache_.open_descriptors.find({death.process_id, death.fd});
    if (open != cache_.open_descriptors.end()) {
      id = open->second.id;
      cache_.open_descriptors.erase(open);
    } else {
      Query(statement("INSERT INTO descriptor (process_id, fd) VALUES (?, ?)")).bind(death.process_id, death.fd).run();
      id = last_id();
    }
    dead.emplace_back(id, position++);
  }
  insert_runs(dead, observation.iteration);
}

// A new lineage lists again what the harness has open. What is the same as before goes on, and the new row ends at
// once; what is not takes its number's place.
void Writer::write_births(const record::Observation& observation) {
  std::vector<std::pair<std::int64_t, int>> replaced, listed_again;
  std::int64_t first = 0;
  for (const record::DescriptorBirth& birth : observation.births) {
    const std::optional<std::int64_t> kind = text_id(birth.kind), detail = optional_text_id(birth.detail);
    Query(statement("INSERT INTO descriptor (process_id, fd, kind, detail, born_iteration) VALUES (?, ?, ?, ?, ?)"))
        .bind(birth.process_id, birth.fd, kind, detail, observation.iteration)
        .run();
    const std::int64_t id = last_id();
    if (first == 0) first = id;
    const auto [open, is_new] =
        cache_.open_descriptors.try_emplace({birth.process_id, birth.fd}, OpenDescriptor{id, kind, detail});
    if (is_new) continue;
    if (open->second.kind == kind && open->second.detail == detail) {
      listed_again.emplace_back(id, kNotTold);
    } else {
      replaced.emplace_back(open->second.id, kNotTold);
      open->second = {id, kind, detail};
    }
  }
  insert_runs(replaced, observation.iteration);
  insert_runs(listed_again, observation.iteration);
  if (first == 0) return;
  Query(statement("UPDATE iteration SET first_descriptor = ?, descriptor_count = ? WHERE iteration = ?"))
      .bind(first, static_cast<std::int64_t>(observation.births.size()), observation.iteration)
      .run();
}

void Writer::write_descriptors(const record::Observation& observation) {
  if (observation.births.empty() && observation.deaths.empty() && observation.processes_ended.empty()) return;
  load_open_descriptors();
  // Deaths first: a number may die and be born again within one iteration.
  write_deaths(observation);
  write_births(observation);
  forget_ended(observation.iteration, observation);
}

// Keeps the ledger in memory as small as the topology: descriptors of processes long gone are not asked for again.
void Writer::forget_ended(std::int64_t iteration, const record::Observation& observation) {
  for (const record::ProcessEnd& end : observation.processes_ended)
    cache_.ended.emplace_back(iteration, end.process_id);
  while (!cache_.ended.empty() && cache_.ended.front().first + kEndedKeptIterations < iteration) {
    const std::int64_t process = cache_.ended.front().second;
    cache_.ended.pop_front();
    const auto begin = cache_.open_descriptors.lower_bound({process, std::numeric_limits<int>::min()});
    auto end = begin;
    while (end != cache_.open_descriptors.end() && end->first.first == process) ++end;
    cache_.open_descriptors.erase(begin, end);
  }
}

}  // namespace migsoak::store
