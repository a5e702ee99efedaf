// Makes of a database what an older migsoak would have written.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <string>

namespace migsoak::store {

// version: 1 or 2.
inline void turn_back(const std::string& path, int version) {
  SQLite::Database db(path, SQLite::OPEN_READWRITE);
  db.exec("PRAGMA foreign_keys = OFF");
  for (const char* sql : {
           "DELETE FROM process_end WHERE position < 0",
           "DELETE FROM descriptor_death WHERE position < 0",
           "DROP INDEX process_by_id",
           "CREATE INDEX process_by_id ON process (id)",
           "INSERT INTO process SELECT a.iteration, a.position, p.id, p.name, p.pid, p.start_ticks, p.generation, "
           "p.command, p.born_iteration, p.fd_limit FROM process_again a JOIN process p ON p.id = a.process_id",
           "DROP TABLE process_again",
           "DROP VIEW event_text",
           "DROP INDEX event_by_kind",
           "CREATE TEMP TABLE took AS SELECT e.iteration, e.position, json_set(coalesce(t.value, '{}'), '$.took_ms', "
           "e.took_ms) AS detail FROM event e LEFT JOIN text t ON t.id = e.detail WHERE e.took_ms IS NOT NULL",
           "INSERT INTO text (hash, value) SELECT DISTINCT 0, detail FROM took",
           "UPDATE event SET detail = (SELECT t.id FROM took k JOIN text t ON t.value = k.detail WHERE k.iteration = "
           "event.iteration AND k.position = event.position) WHERE took_ms IS NOT NULL",
           "ALTER TABLE event DROP COLUMN took_ms",
           "CREATE VIEW event_text AS SELECT e.iteration, e.position, e.kind, e.subject, e.process_id, e.phase, "
           "e.at_ms, "
           "coalesce(t.value, '') AS text, coalesce(d.value, '{}') AS detail FROM event e LEFT JOIN text t ON t.id = "
           "e.text LEFT JOIN text d ON d.id = e.detail",
           "UPDATE finding SET json = json_set(json, '$.count', count)",
           "UPDATE finding SET json = json_set(json, '$.evidence.last_iteration', last_iteration) WHERE last_iteration "
           "IS NOT NULL",
           "DROP INDEX finding_by_fingerprint",
           "ALTER TABLE finding DROP COLUMN last_iteration",
           // A plan that said more than the columns was stored as a whole, the iteration's number included.
           "CREATE TEMP TABLE whole AS SELECT i.iteration, json_patch(json_object('iteration', i.iteration, 'source', "
           "i.source, 'destination', i.destination, 'mode', i.mode, 'transport', i.transport), "
           "json_patch(coalesce(t.value, '{}'), CASE WHEN i.machine = '' THEN '{}' ELSE json_object('machine', "
           "i.machine) END)) AS plan FROM iteration i LEFT JOIN text t ON t.id = i.plan WHERE i.machine <> '' OR "
           "i.plan "
           "IS NOT NULL",
           "INSERT INTO text (hash, value) SELECT 0, plan FROM whole",
           "UPDATE iteration SET plan = (SELECT t.id FROM whole w JOIN text t ON t.value = w.plan WHERE w.iteration = "
           "iteration.iteration) WHERE machine <> '' OR plan IS NOT NULL",
           "DROP INDEX iteration_by_lineage",
           "ALTER TABLE iteration DROP COLUMN machine",
           "ALTER TABLE iteration DROP COLUMN operations",
           "PRAGMA user_version = 2",
       }) {
    db.exec(sql);
  }
  if (version == 2) return;
  for (const char* sql :
       {"DROP VIEW document", "DROP TABLE document_list", "DROP TABLE document_set", "PRAGMA user_version = 1"}) {
    db.exec(sql);
  }
}

}  // namespace migsoak::store
