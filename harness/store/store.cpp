// Store's own functions; what they are made of is in write.cpp and read.cpp.
#include "store/store.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/deadline.h"
#include "base/text.h"
#include "store/impl.h"

namespace migsoak::store {

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::~Store() = default;

const record::Manifest& Store::manifest() const {
  return impl_->manifest;
}
const std::string& Store::path() const {
  return impl_->path;
}

base::Result<void> Store::Impl::in_transaction(const std::function<base::Result<void>()>& work) {
  if (!writable) return base::fail(base::ErrorKind::bad_input, "database " + path + " was opened for reading only");
  base::Result<void> result = guarded([&]() -> base::Result<void> {
    SQLite::Transaction transaction(*db, SQLite::TransactionBehavior::IMMEDIATE);
    MIGSOAK_TRY(work());
    transaction.commit();
    return {};
  });
  if (!result) {
    const std::lock_guard lock(mutex);
    cache = WriteCache{};
  }
  return result;
}

base::Result<void> Store::begin(const record::Observation& observation) {
  return impl_->in_transaction([&]() -> base::Result<void> {
    Impl& impl = *impl_;
    {
      Query before(impl.statement("SELECT status, started_unix_ms FROM iteration WHERE iteration = ?"));
      if (before.bind(observation.iteration).step()) {
        if (before.text(0) != "started") {
          return base::fail(base::ErrorKind::bad_input, fmt::format("iteration {} is finished already in {}",
                                                                    observation.iteration, base::printable(path())));
        }
        Query(impl.statement("INSERT INTO interruption (iteration, started_unix_ms, noted_unix_ms) VALUES (?, ?, ?)"))
            .bind(observation.iteration, before.integer(1), static_cast<std::int64_t>(base::unix_time_ms()))
            .run();
      }
    }
    Query(impl.statement("DELETE FROM run_end")).run();
    impl.write_iteration(observation, std::nullopt);
    return {};
  });
}

base::Result<void> Store::finish(const record::Observation& observation, record::Verdict verdict) {
  if (observation.status == record::IterationStatus::started) {
    return base::fail(base::ErrorKind::bad_input,
                      fmt::format("iteration {} cannot finish with status started", observation.iteration));
  }
  return impl_->in_transaction([&]() -> base::Result<void> {
    Impl& impl = *impl_;
    {
      Query before(impl.statement("SELECT 1 FROM iteration WHERE iteration = ? AND status <> 'started'"));
      if (before.bind(observation.iteration).step()) {
        return base::fail(base::ErrorKind::bad_input, fmt::format("iteration {} is finished already in {}",
                                                                  observation.iteration, base::printable(path())));
      }
    }
    const std::int64_t last = impl.last_finished_of(observation.lane);
    impl.write_iteration(observation, verdict);
    impl.write_processes(observation);
    impl.write_samples(observation);
    impl.write_descriptors(observation);
    impl.write_events(observation);
    impl.write_documents(observation);
    impl.cache.last_finished[observation.lane] = std::max(last, observation.iteration);
    return {};
  });
}

base::Result<void> Store::replace_findings(const std::vector<record::Finding>& findings,
                                           const std::vector<record::Exclusion>& exclusions) {
  return impl_->in_transaction([&]() -> base::Result<void> {
    Impl& impl = *impl_;
    Query(impl.statement("DELETE FROM finding")).run();
    Query(impl.statement("DELETE FROM exclusion")).run();
    int position = 0;
    for (const record::Finding& finding : findings) {
      Query(impl.statement("INSERT INTO finding (position, detector, severity, blame, process, kind, first_iteration, "
                           "detected_iteration, count, rate_per_iteration, exhausts_at_iteration, title, fingerprint, "
                           "json) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"))
          .bind(position++, finding.detector, record::to_string(finding.severity), record::to_string(finding.blame),
                finding.process, finding.kind, finding.first_iteration, finding.detected_iteration, finding.count,
                finding.rate_per_iteration, finding.exhausts_at_iteration, finding.title, finding.fingerprint,
                base::dump_json(record::to_json(finding)))
          .run();
    }
    position = 0;
    for (const record::Exclusion& exclusion : exclusions) {
      Query(impl.statement("INSERT INTO exclusion (position, name, detector, reason, count) VALUES (?, ?, ?, ?, ?)"))
          .bind(position++, exclusion.name, exclusion.detector, exclusion.reason, exclusion.count)
          .run();
    }
    return {};
  });
}

base::Result<void> Store::plan_iterations(std::int64_t iterations) {
  record::Manifest changed = impl_->manifest;
  changed.iterations_planned = iterations;
  MIGSOAK_TRY(impl_->in_transaction([&]() -> base::Result<void> {
    Query(impl_->statement("UPDATE run SET iterations_planned = ?, manifest = ?"))
        .bind(iterations, base::dump_json(record::to_json(changed)))
        .run();
    return {};
  }));
  impl_->manifest = std::move(changed);
  return {};
}

base::Result<void> Store::end_run(record::Verdict verdict, const std::string& reason) {
  return impl_->in_transaction([&]() -> base::Result<void> {
    Query(impl_->statement("INSERT OR REPLACE INTO run_end (id, verdict, reason, ended_unix_ms) VALUES (1, ?, ?, ?)"))
        .bind(record::to_string(verdict), reason, static_cast<std::int64_t>(base::unix_time_ms()))
        .run();
    return {};
  });
}

base::Result<std::vector<record::Finding>> Store::findings() const {
  return impl_->guarded([&]() -> base::Result<std::vector<record::Finding>> {
    std::vector<record::Finding> findings;
    Query rows(impl_->statement("SELECT json FROM finding ORDER BY position"));
    while (rows.step()) {
      MIGSOAK_ASSIGN(const base::Json json, parse_stored(rows.text(0)), "finding in " + base::printable(path()));
      MIGSOAK_ASSIGN(record::Finding finding, record::finding_from_json(json), "finding in " + base::printable(path()));
      findings.push_back(std::move(finding));
    }
    return findings;
  });
}

base::Result<std::vector<record::Exclusion>> Store::exclusions() const {
  return impl_->guarded([&]() -> base::Result<std::vector<record::Exclusion>> {
    std::vector<record::Exclusion> exclusions;
    Query rows(impl_->statement("SELECT name, detector, reason, count FROM exclusion ORDER BY position"));
    while (rows.step()) exclusions.push_back({rows.text(0), rows.text(1), rows.text(2), rows.integer(3)});
    return exclusions;
  });
}

base::Result<void> Store::for_each_observation(
    const std::function<base::Result<void>(const record::Observation&)>& visit) const {
  // Loaded one by one, so that `visit` runs without the lock and a long run need not fit into memory.
  std::int64_t last = -1;
  for (;;) {
    std::optional<record::Observation> next;
    MIGSOAK_TRY(impl_->guarded([&]() -> base::Result<void> {
      SQLite::Transaction transaction(*impl_->db);
      std::optional<std::int64_t> iteration;
      {
        Query row(impl_->statement(
            "SELECT iteration FROM iteration WHERE iteration > ? AND status <> 'started' ORDER BY iteration LIMIT 1"));
        if (row.bind(last).step()) iteration = row.integer(0);
      }
      if (iteration) {
        MIGSOAK_ASSIGN(next, impl_->load(*iteration));
      }
      transaction.commit();
      return {};
    }));
    if (!next) return {};
    last = next->iteration;
    MIGSOAK_TRY(visit(*next));
  }
}

base::Result<record::Observation> Store::observation(std::int64_t iteration) const {
  return impl_->guarded([&]() -> base::Result<record::Observation> {
    SQLite::Transaction transaction(*impl_->db);
    MIGSOAK_ASSIGN(record::Observation observation, impl_->load(iteration));
    transaction.commit();
    return observation;
  });
}

base::Result<Store::Summary> Store::summary() const {
  return impl_->guarded([&]() -> base::Result<Summary> {
    SQLite::Transaction transaction(*impl_->db);
    Summary summary;
    {
      Query row(
          impl_->statement("SELECT count(*), coalesce(max(iteration), -1) FROM iteration "
                           "WHERE status <> 'started'"));
      row.step();
      summary.iterations_finished = row.integer(0);
      summary.last_finished = row.integer(1);
    }
    {
      Query row(
          impl_->statement("SELECT count(*), coalesce(max(lineage), -1) FROM (SELECT DISTINCT lane, lineage FROM "
                           "iteration WHERE status <> 'started')"));
      row.step();
      summary.lineages = row.integer(0);
      summary.last_lineage = row.small(1);
    }
    {
      Query rows(impl_->statement("SELECT status, count(*) FROM iteration GROUP BY status"));
      while (rows.step()) summary.by_status[rows.text(0)] = rows.integer(1);
    }
    {
      Query row(
          impl_->statement("SELECT (SELECT count(*) FROM interruption), (SELECT coalesce(max(id), 0) FROM "
                           "process)"));
      row.step();
      summary.iterations_interrupted = row.integer(0);
      summary.last_process_id = row.integer(1);
    }
    const auto begun = summary.by_status.find("started");
    if (begun != summary.by_status.end()) summary.iterations_interrupted += begun->second;
    Query end(impl_->statement("SELECT verdict, reason, ended_unix_ms FROM run_end"));
    if (end.step()) {
      MIGSOAK_ASSIGN(summary.verdict, record::verdict_from(end.text(0)));
      summary.end_reason = end.text(1);
      summary.ended_unix_ms = end.integer(2);
    }
    return summary;
  });
}

base::Result<std::vector<Store::Point>> Store::series(const std::string& subject, const std::string& metric) const {
  return impl_->guarded([&]() -> base::Result<std::vector<Point>> {
    SQLite::Transaction transaction(*impl_->db);
    std::vector<std::int64_t> ids;
    {
      Query rows(impl_->statement("SELECT id FROM series WHERE subject = ? AND metric = ? ORDER BY id"));
      rows.bind(subject, metric);
      while (rows.step()) ids.push_back(rows.integer(0));
    }
    std::vector<Point> points;
    for (const std::int64_t id : ids) {
      MIGSOAK_TRY(impl_->load_series(id, points));
    }
    std::stable_sort(points.begin(), points.end(),
                     [](const Point& a, const Point& b) { return a.iteration < b.iteration; });
    return points;
  });
}

base::Result<std::vector<Store::SeriesName>> Store::series_names() const {
  return impl_->guarded([&]() -> base::Result<std::vector<SeriesName>> {
    std::vector<SeriesName> names;
    Query rows(impl_->statement("SELECT DISTINCT subject, metric FROM series ORDER BY subject, metric"));
    while (rows.step()) names.push_back({rows.text(0), rows.text(1)});
    return names;
  });
}

base::Result<std::vector<record::ProcessInstance>> Store::processes() const {
  return impl_->guarded([&]() -> base::Result<std::vector<record::ProcessInstance>> {
    std::vector<record::ProcessInstance> all;
    Query rows(impl_->statement(
        "SELECT id, name, pid, start_ticks, generation, command, born_iteration, fd_limit FROM process "
        "ORDER BY iteration, position"));
    while (rows.step()) {
      all.push_back({rows.integer(0), rows.text(1), rows.integer(2), rows.integer(3), rows.small(4), rows.text(5),
                     rows.integer(6), rows.integer(7)});
    }
    return all;
  });
}

base::Result<std::vector<Store::IterationRow>> Store::iterations() const {
  return impl_->guarded([&]() -> base::Result<std::vector<IterationRow>> {
    std::vector<IterationRow> all;
    Query rows(
        impl_->statement("SELECT i.iteration, i.lane, i.lineage, i.status, i.verdict, i.source, i.destination, i.mode, "
                         "i.transport, i.phase, i.started_unix_ms, i.duration_ms, p.value FROM iteration i "
                         "LEFT JOIN text p ON p.id = i.plan ORDER BY i.iteration"));
    while (rows.step()) {
      IterationRow row;
      row.iteration = rows.integer(0);
      row.lane = rows.small(1);
      row.lineage = rows.small(2);
      MIGSOAK_ASSIGN(row.status, record::iteration_status_from(rows.text(3)));
      if (!rows.is_null(4)) {
        MIGSOAK_ASSIGN(row.verdict, record::verdict_from(rows.text(4)));
      }
      row.source = rows.text(5);
      row.destination = rows.text(6);
      row.mode = rows.text(7);
      row.transport = rows.text(8);
      row.phase = rows.text(9);
      row.started_unix_ms = rows.integer(10);
      row.duration_ms = rows.real(11);
      if (!rows.is_null(12)) {
        MIGSOAK_ASSIGN(const base::Json plan, parse_stored(rows.text(12)), "plan in " + base::printable(path()));
        row.machine = base::json_get<std::string>(plan, "machine", "");
        row.operations = static_cast<std::int64_t>(base::json_get(plan, "operations", base::Json::array()).size());
      }
      all.push_back(std::move(row));
    }
    return all;
  });
}

}  // namespace migsoak::store
