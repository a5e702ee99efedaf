-- migsoak's record. Explained, with queries, in results/README.md.
-- Everything a detector sees can be rebuilt from here exactly, so that `judge` on the database equals the live verdict.
PRAGMA application_id = 1835624307;  -- "migs"
-- What came with later schemas is in schema_<n>.sql, run after this one; the last sets user_version.
PRAGMA user_version = 1;

-- One row: what does not change from iteration to iteration.
CREATE TABLE run (
  id                 INTEGER PRIMARY KEY CHECK (id = 1),
  run                TEXT NOT NULL,
  scenario           TEXT NOT NULL,
  seed               TEXT NOT NULL,  -- unsigned 64 bits: decimal text, beyond SQLite's integers
  iterations_planned INTEGER NOT NULL,
  started_unix_ms    INTEGER NOT NULL,
  migsoak_version    TEXT NOT NULL,
  manifest           TEXT NOT NULL   -- JSON; scenario text, sides, targets, gate, environment
) STRICT;

-- At most one row: absent while the run goes on, and after a kill.
CREATE TABLE run_end (
  id            INTEGER PRIMARY KEY CHECK (id = 1),
  verdict       TEXT NOT NULL CHECK (verdict IN ('pass', 'unknown', 'fail')),
  reason        TEXT NOT NULL,
  ended_unix_ms INTEGER NOT NULL
) STRICT;

-- Strings that repeat: log lines, descriptor details, JSON details. `hash` is XXH3-64 of the value (not unique).
CREATE TABLE text (
  id    INTEGER PRIMARY KEY,
  hash  INTEGER NOT NULL,
  value TEXT NOT NULL
) STRICT;
CREATE INDEX text_by_hash ON text (hash);

-- What was sampled in an iteration, in order: series ids, and for each the index into iteration.processes.
CREATE TABLE sample_set (
  id     INTEGER PRIMARY KEY,
  hash   INTEGER NOT NULL,
  series TEXT NOT NULL,  -- JSON array
  slots  TEXT NOT NULL   -- JSON array, as long
) STRICT;
CREATE INDEX sample_set_by_hash ON sample_set (hash);

-- The row is committed before anything spawns, with status 'started'.
CREATE TABLE iteration (
  iteration        INTEGER PRIMARY KEY,
  lane             INTEGER NOT NULL,
  lineage          INTEGER NOT NULL,
  status           TEXT NOT NULL CHECK (status IN ('started', 'completed', 'failed', 'lost', 'unknown')),
  verdict          TEXT CHECK (verdict IN ('pass', 'unknown', 'fail')),  -- NULL while started
  source           TEXT NOT NULL,
  destination      TEXT NOT NULL,
  mode             TEXT NOT NULL,
  transport        TEXT NOT NULL,
  phase            TEXT NOT NULL,
  context          TEXT NOT NULL,  -- only samples of equal context may be compared
  started_unix_ms  INTEGER NOT NULL,
  duration_ms      REAL NOT NULL,
  plan             INTEGER REFERENCES text (id),        -- JSON, only when it says more than the columns
  sample_set       INTEGER REFERENCES sample_set (id),  -- NULL: nothing was sampled
  processes        TEXT,                                -- JSON array of process ids the samples' slots point into
  first_descriptor INTEGER,                             -- births of this iteration: descriptor.id from here,
  descriptor_count INTEGER NOT NULL DEFAULT 0           -- so many
) STRICT;

-- An iteration that a killed run had begun, replaced when the run was resumed.
CREATE TABLE interruption (
  id              INTEGER PRIMARY KEY,
  iteration       INTEGER NOT NULL,
  started_unix_ms INTEGER NOT NULL,
  noted_unix_ms   INTEGER NOT NULL
) STRICT;

CREATE TABLE process (
  iteration      INTEGER NOT NULL REFERENCES iteration (iteration),
  position       INTEGER NOT NULL,
  id             INTEGER NOT NULL,
  name           TEXT NOT NULL,
  pid            INTEGER NOT NULL,
  start_ticks    INTEGER NOT NULL,
  generation     INTEGER NOT NULL,
  command        TEXT NOT NULL,
  born_iteration INTEGER NOT NULL,
  fd_limit       INTEGER NOT NULL,
  PRIMARY KEY (iteration, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX process_by_id ON process (id);

CREATE TABLE process_end (
  iteration   INTEGER NOT NULL REFERENCES iteration (iteration),
  position    INTEGER NOT NULL,
  process_id  INTEGER NOT NULL,
  expected    INTEGER NOT NULL,
  exit_code   INTEGER NOT NULL,
  signal      INTEGER NOT NULL,
  core_dumped INTEGER NOT NULL,
  last_lines  INTEGER REFERENCES text (id),  -- NULL: none
  PRIMARY KEY (iteration, position)
) STRICT, WITHOUT ROWID;

-- `ordinal` counts samples of one subject and metric within one iteration; nearly always 0.
CREATE TABLE series (
  id      INTEGER PRIMARY KEY,
  subject TEXT NOT NULL,
  metric  TEXT NOT NULL,
  lane    INTEGER NOT NULL,
  ordinal INTEGER NOT NULL,
  UNIQUE (subject, metric, lane, ordinal)
) STRICT;

-- Changes only: the value holds from this iteration on, until the series' next row. What was sampled when is said by
-- iteration.sample_set. NULL stands for not-a-number.
CREATE TABLE sample (
  series    INTEGER NOT NULL REFERENCES series (id),
  iteration INTEGER NOT NULL REFERENCES iteration (iteration),
  value     REAL,
  PRIMARY KEY (series, iteration)
) STRICT, WITHOUT ROWID;

-- The descriptor ledger. kind and born_iteration are NULL for a death whose birth nobody saw.
CREATE TABLE descriptor (
  id             INTEGER PRIMARY KEY,
  process_id     INTEGER NOT NULL,
  fd             INTEGER NOT NULL,
  kind           INTEGER REFERENCES text (id),
  detail         INTEGER REFERENCES text (id),  -- NULL: empty
  born_iteration INTEGER
) STRICT;

-- Deaths as runs of consecutive descriptor ids: a process that goes takes its whole run along.
CREATE TABLE descriptor_death (
  first_id  INTEGER PRIMARY KEY,
  last_id   INTEGER NOT NULL,
  iteration INTEGER NOT NULL REFERENCES iteration (iteration),
  position  INTEGER NOT NULL
) STRICT;
CREATE INDEX descriptor_death_by_iteration ON descriptor_death (iteration, position);

CREATE TABLE event (
  iteration  INTEGER NOT NULL REFERENCES iteration (iteration),
  position   INTEGER NOT NULL,
  kind       TEXT NOT NULL,
  subject    TEXT NOT NULL,
  process_id INTEGER NOT NULL,
  phase      TEXT NOT NULL,
  at_ms      REAL NOT NULL,
  text       INTEGER REFERENCES text (id),  -- NULL: empty
  detail     INTEGER REFERENCES text (id),  -- JSON; NULL: {}
  PRIMARY KEY (iteration, position)
) STRICT, WITHOUT ROWID;

-- Derived data: what today's detectors make of the record.
CREATE TABLE finding (
  position              INTEGER PRIMARY KEY,
  detector              TEXT NOT NULL,
  severity              TEXT NOT NULL,
  blame                 TEXT NOT NULL,
  process               TEXT NOT NULL,
  kind                  TEXT NOT NULL,
  first_iteration       INTEGER,
  detected_iteration    INTEGER,
  count                 INTEGER NOT NULL,
  rate_per_iteration    REAL,
  exhausts_at_iteration INTEGER,
  title                 TEXT NOT NULL,
  fingerprint           TEXT NOT NULL,
  json                  TEXT NOT NULL
) STRICT;

CREATE TABLE exclusion (
  position INTEGER PRIMARY KEY,
  name     TEXT NOT NULL,
  detector TEXT NOT NULL,
  reason   TEXT NOT NULL,
  count    INTEGER NOT NULL
) STRICT;

-- For people: every sample of every iteration, unchanged ones included.
CREATE VIEW sample_at AS
SELECT i.iteration, s.subject, s.metric,
       (SELECT v.value FROM sample v WHERE v.series = s.id AND v.iteration <= i.iteration
        ORDER BY v.iteration DESC LIMIT 1) AS value,
       json_extract(i.processes, '$[' || json_extract(t.slots, '$[' || m.key || ']') || ']') AS process_id,
       i.lane, i.context
FROM iteration i
JOIN sample_set t ON t.id = i.sample_set
JOIN json_each(t.series) m
JOIN series s ON s.id = m.value;

CREATE VIEW descriptor_life AS
SELECT d.id, d.process_id, d.fd, k.value AS kind, coalesce(t.value, '') AS detail, d.born_iteration,
       (SELECT CASE WHEN d.id <= x.last_id THEN x.iteration END FROM descriptor_death x
        WHERE x.first_id <= d.id ORDER BY x.first_id DESC LIMIT 1) AS died_iteration
FROM descriptor d
LEFT JOIN text k ON k.id = d.kind
LEFT JOIN text t ON t.id = d.detail;

CREATE VIEW event_text AS
SELECT e.iteration, e.position, e.kind, e.subject, e.process_id, e.phase, e.at_ms, coalesce(t.value, '') AS text,
       coalesce(d.value, '{}') AS detail
FROM event e
LEFT JOIN text t ON t.id = e.text
LEFT JOIN text d ON d.id = e.detail;
