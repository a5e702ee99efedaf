-- Since schema 2: documents (configuration space, virtqueues, device sets, what the guest sees, device trees). Run on a
-- database of schema 1 when a run goes on in it; unchanged content costs a row of document_list, a few bytes.

-- What was read in an iteration, in order: a JSON array of [kind, subject, point, content, slot]; content is an id in
-- text (JSON), slot an index into document_list.processes.
CREATE TABLE document_set (
  id        INTEGER PRIMARY KEY,
  hash      INTEGER NOT NULL,
  documents TEXT NOT NULL
) STRICT;
CREATE INDEX document_set_by_hash ON document_set (hash);

CREATE TABLE document_list (
  iteration    INTEGER PRIMARY KEY REFERENCES iteration (iteration),
  document_set INTEGER NOT NULL REFERENCES document_set (id),
  processes    TEXT NOT NULL  -- JSON array of process ids
) STRICT;

-- For people: every document of every iteration with its content.
CREATE VIEW document AS
SELECT l.iteration, d.key AS position, json_extract(d.value, '$[0]') AS kind, json_extract(d.value, '$[1]') AS subject,
       json_extract(d.value, '$[2]') AS point,
       json_extract(l.processes, '$[' || json_extract(d.value, '$[4]') || ']') AS process_id, t.value AS content
FROM document_list l
JOIN document_set s ON s.id = l.document_set
JOIN json_each(s.documents) d
JOIN text t ON t.id = json_extract(d.value, '$[3]');

PRAGMA user_version = 2;
