-- Since schema 3: one row per process, the dead ones closed, findings that can be changed one by one, and columns in
-- place of JSON where a reader of a million iterations would have to parse it. Run on a database of schema 1 or 2 when
-- it is opened for writing; its rows stay as they are, and what is NULL in the new columns is still in the JSON.

-- Iterations that name a process which is on record already: each lineage names the harness. Same as a row of process.
CREATE TABLE process_again (
  iteration  INTEGER NOT NULL REFERENCES iteration (iteration),
  position   INTEGER NOT NULL,  -- among the iteration's births, counted together with those in process
  process_id INTEGER NOT NULL,
  PRIMARY KEY (iteration, position)
) STRICT, WITHOUT ROWID;
INSERT INTO process_again (iteration, position, process_id)
SELECT p.iteration, p.position, p.id FROM process p
JOIN (SELECT id, min(iteration) AS first FROM process GROUP BY id HAVING count(*) > 1) d ON d.id = p.id
WHERE p.iteration > d.first;
DELETE FROM process WHERE (iteration, position) IN (SELECT iteration, position FROM process_again);
DROP INDEX process_by_id;
CREATE UNIQUE INDEX process_by_id ON process (id);

-- Deaths that no observation tells have positions below 0, in process_end as in descriptor_death: a lineage or a session
-- was over, and the harness that would have seen its processes end was not there.

-- NULL: the row is older than the column, and the plan's JSON holds it.
ALTER TABLE iteration ADD COLUMN machine TEXT;
ALTER TABLE iteration ADD COLUMN operations INTEGER;  -- hotplug operations of the plan
-- Counts by lineage and status, and where a lineage began, without reading the rows.
CREATE INDEX iteration_by_lineage ON iteration (lane, lineage, status);

-- detail.took_ms, when it is a fraction: it never repeats, and the rest of a detail does.
ALTER TABLE event ADD COLUMN took_ms REAL;
CREATE INDEX event_by_kind ON event (kind);  -- and by iteration and position, as the table has no rowid

-- evidence.last_iteration; together with count all that changes when a known trouble is seen again. NULL: in the JSON.
ALTER TABLE finding ADD COLUMN last_iteration INTEGER;
CREATE INDEX finding_by_fingerprint ON finding (fingerprint);

DROP VIEW event_text;
CREATE VIEW event_text AS
SELECT e.iteration, e.position, e.kind, e.subject, e.process_id, e.phase, e.at_ms, coalesce(t.value, '') AS text,
       CASE WHEN e.took_ms IS NULL THEN coalesce(d.value, '{}')
            ELSE json_set(coalesce(d.value, '{}'), '$.took_ms', e.took_ms) END AS detail
FROM event e
LEFT JOIN text t ON t.id = e.text
LEFT JOIN text d ON d.id = e.detail;

PRAGMA user_version = 3;
