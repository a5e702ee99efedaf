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
  return impl_->connection.manifest;
}
const std::string& Store::path() const {
  return impl_->connection.path;
}

base::Result<void> Store::Impl::in_transaction(const std::function<base::Result<void>()>& work) {
  if (!connection.writable) {
    return base::fail(base::ErrorKind::bad_input, "database " + connection.path + " was opened for reading only");
  }
  base::Result<void> result = guarded([&]() -> base::Result<void> {
    SQLite::Transaction transaction(*connection.db, SQLite::TransactionBehavior::IMMEDIATE);
    MIGSOAK_TRY(work());
    transaction.commit();
    return {};
  });
  if (!result) {
    const std::lock_guard lock(connection.mutex);
    writer.forget();
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
    impl.writer.write_iteration(observation, std::nullopt);
    return {};
  });
}

base::Result<void> Store::finish(const record::Observation& observation, record::Verdict verdict,
                                 const FindingChanges& changes) {
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
    const std::int64_t last = impl.writer.last_finished_of(observation.lane);
    impl.writer.write_iteration(observation, verdict);
    MIGSOAK_TRY(impl.writer.write_processes(observation));
    impl.writer.write_samples(observation);
    impl.writer.write_descriptors(observation);
    impl.writer.write_events(observation);
    impl.writer.write_documents(observation);
    impl.writer.write_findings(changes);
    impl.writer.note_finished(observation.lane, std::max(last, observation.iteration));
    return {};
  });
}

base::Result<void> Store::plan_iterations(std::int64_t iterations) {
  record::Manifest changed = impl_->connection.manifest;
  changed.iterations_planned = iterations;
  MIGSOAK_TRY(impl_->in_transaction([&]() -> base::Result<void> {
    Query(impl_->statement("UPDATE run SET iterations_planned = ?, manifest = ?"))
        .bind(iterations, base::dump_json(record::to_json(changed)))
        .run();
    return {};
  }));
  impl_->connection.manifest = std::move(changed);
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

base::Result<Store::Summary> Store::summary() const {
  return impl_->guarded([&]() -> base::Result<Summary> {
    SQLite::Transaction transaction(*impl_->connection.db);
    Summary summary;
    {
      // In the order of an index of schema 3: a lineage's statuses follow each other.
      Query rows(
          impl_->statement("SELECT lane, lineage, status, count(*), max(iteration) FROM iteration GROUP BY lane, "
                           "lineage, status ORDER BY lane, lineage"));
      std::optional<std::pair<int, int>> last_counted;
      while (rows.step()) {
        const std::string status = rows.text(2);
        summary.by_status[status] += rows.integer(3);
        if (status == "started") continue;
        summary.iterations_finished += rows.integer(3);
        summary.last_finished = std::max(summary.last_finished, rows.integer(4));
        const std::pair lineage(rows.small(0), rows.small(1));
        if (last_counted != lineage) ++summary.lineages;
        last_counted = lineage;
        summary.last_lineage = std::max(summary.last_lineage, lineage.second);
      }
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

base::Result<record::RunEnd> run_end(const Store& store, const Store::Summary& summary) {
  record::RunEnd end;
  end.planned = store.manifest().planned_count();
  end.finished = summary.iterations_finished;
  end.reason = summary.end_reason;
  if (end.finished >= end.planned) return end;
  MIGSOAK_TRY(store.for_each_event(record::event_kind::kLineageGivenUp,
                                   [&end](std::int64_t, const record::Event& event) -> base::Result<void> {
                                     end.left_out += base::json_get<std::int64_t>(event.detail, "left_out", 0);
                                     return {};
                                   }));
  return end;
}

}  // namespace migsoak::store
