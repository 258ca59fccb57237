-- The ledger, version 3. Narrow hot tables (item, feed, tally) lie apart from wide ones (result, failure), so that no
-- scan touches a vector or a text. Later versions may add columns and tables; none may rebuild item, content, result
-- or feed. Times are Unix milliseconds unless the name says otherwise. Paths are BLOBs: the bytes the file system holds.

CREATE TABLE epoch (                -- one row per daemon start; a claim of another epoch is dead by definition
  id       INTEGER PRIMARY KEY,
  started  INTEGER NOT NULL,
  pid      INTEGER NOT NULL,
  version  TEXT NOT NULL
) STRICT;

CREATE TABLE root (
  id      INTEGER PRIMARY KEY,
  path    BLOB NOT NULL UNIQUE,     -- canonical, absolute
  device  INTEGER NOT NULL,         -- st_dev when last resolved
  fs      TEXT NOT NULL
) STRICT;

CREATE TABLE dir (
  id       INTEGER PRIMARY KEY,
  root_id  INTEGER NOT NULL REFERENCES root(id),
  rel      BLOB NOT NULL,           -- below the root, without a leading or trailing slash; empty for the root itself
  UNIQUE (root_id, rel)
) STRICT;

CREATE TABLE job (
  id         INTEGER PRIMARY KEY,
  uuid       TEXT NOT NULL UNIQUE,
  name       TEXT NOT NULL,
  roots      TEXT NOT NULL,         -- JSON list of [root id, file name in base64 or null]
  requested  TEXT NOT NULL,         -- JSON: what was asked for, as typed (config.JobSpec)
  resolved   TEXT,                  -- JSON: provenance of the resolved steps; NULL until the probe has answered
  sinks      TEXT NOT NULL,         -- JSON list of sink settings
  status     TEXT NOT NULL CHECK (status IN ('queued','running','paused','waiting','completed','failed','stopped')),
  reason     TEXT NOT NULL DEFAULT '',
  actor      TEXT NOT NULL DEFAULT '',
  until      INTEGER,
  priority   INTEGER NOT NULL DEFAULT 0,
  created    INTEGER NOT NULL,
  changed    INTEGER NOT NULL,
  rescan     INTEGER NOT NULL DEFAULT 1 CHECK (rescan IN (0, 1, 2))   -- walks owed before the job may complete; 2: one
                                    -- under way, and one asked for since that began
) STRICT;
-- A stopped job's name is free again.
CREATE UNIQUE INDEX job_name ON job(name) WHERE status <> 'stopped';

CREATE TABLE tally (                -- the counters of a job, moved by the triggers below in the same transaction
  job_id    INTEGER PRIMARY KEY REFERENCES job(id) ON DELETE CASCADE,
  pending   INTEGER NOT NULL DEFAULT 0 CHECK (pending >= 0),
  running   INTEGER NOT NULL DEFAULT 0 CHECK (running >= 0),
  suspect   INTEGER NOT NULL DEFAULT 0 CHECK (suspect >= 0),
  done      INTEGER NOT NULL DEFAULT 0 CHECK (done >= 0),
  failed    INTEGER NOT NULL DEFAULT 0 CHECK (failed >= 0),
  gone      INTEGER NOT NULL DEFAULT 0 CHECK (gone >= 0),
  skipped   INTEGER NOT NULL DEFAULT 0,
  reused    INTEGER NOT NULL DEFAULT 0,   -- items that needed no model because their content was known
  feed_seq  INTEGER NOT NULL DEFAULT 0,   -- newest seq given out in this job's feed
  committed INTEGER,                       -- when an item was last committed
  last_done INTEGER,                       -- the item that was
  last_failed INTEGER                      -- the newest item to fail
) STRICT;

CREATE TABLE step (
  id           INTEGER PRIMARY KEY,
  kind         TEXT NOT NULL,
  fingerprint  TEXT NOT NULL UNIQUE,
  spec         TEXT NOT NULL,       -- JSON: what it runs with; "dim" for a step that makes vectors
  provenance   TEXT NOT NULL        -- JSON: library versions, device, dtype: recorded, never compared
) STRICT;

CREATE TABLE job_step (             -- bit i of item.todo and item.bad is the step with bit = i
  job_id   INTEGER NOT NULL REFERENCES job(id) ON DELETE CASCADE,
  bit      INTEGER NOT NULL CHECK (bit BETWEEN 0 AND 61),
  step_id  INTEGER NOT NULL REFERENCES step(id),
  pass     INTEGER NOT NULL,
  done     INTEGER NOT NULL DEFAULT 0,    -- items with this step committed, counted as they commit
  failed   INTEGER NOT NULL DEFAULT 0,
  spec     TEXT,                    -- JSON: what this job runs it with: another job may have the model from elsewhere
  name     TEXT,                    -- since 3: what its results go by; NULL is the name of its kind
  needs    TEXT,                    -- since 3: JSON list of the names of steps that it reads; NULL is what its kind needs
  PRIMARY KEY (job_id, bit)
) STRICT, WITHOUT ROWID;

CREATE TABLE scan (
  id        INTEGER PRIMARY KEY,
  job_id    INTEGER NOT NULL REFERENCES job(id) ON DELETE CASCADE,
  started   INTEGER NOT NULL,
  ended     INTEGER,
  complete  INTEGER NOT NULL DEFAULT 0 CHECK (complete IN (0, 1)),
  limited   INTEGER NOT NULL DEFAULT 0 CHECK (limited IN (0, 1)),
  found     INTEGER NOT NULL DEFAULT 0,
  skipped   TEXT NOT NULL DEFAULT '{}',   -- JSON: count by kind
  errors    TEXT NOT NULL DEFAULT '[]'    -- JSON: [{"path", "message"}], the first 100
) STRICT;
CREATE INDEX scan_job ON scan(job_id, id);

CREATE TABLE content (
  id      INTEGER PRIMARY KEY,
  sha256  BLOB NOT NULL UNIQUE,
  kind    TEXT NOT NULL DEFAULT 'file',
  bytes   INTEGER NOT NULL,
  format  TEXT,
  width   INTEGER,
  height  INTEGER
) STRICT;

CREATE TABLE batch (                -- one worker process's life
  id          INTEGER PRIMARY KEY,
  job_id      INTEGER NOT NULL REFERENCES job(id) ON DELETE CASCADE,
  epoch       INTEGER NOT NULL REFERENCES epoch(id),
  pid         INTEGER,
  started     INTEGER NOT NULL,
  ended       INTEGER,
  outcome     TEXT,                 -- finished, drained, died: …; NULL while it lives
  items       INTEGER NOT NULL DEFAULT 0,
  load_ms     REAL,
  peak_bytes  INTEGER,
  cpu_s       REAL
) STRICT;
CREATE INDEX batch_job ON batch(job_id, id);

CREATE TABLE item (
  id            INTEGER PRIMARY KEY,
  job_id        INTEGER NOT NULL REFERENCES job(id) ON DELETE CASCADE,
  dir_id        INTEGER NOT NULL REFERENCES dir(id),
  name          BLOB NOT NULL,
  size          INTEGER NOT NULL,
  mtime_ns      INTEGER NOT NULL,
  ctime_ns      INTEGER NOT NULL,
  inode         INTEGER NOT NULL,
  content_id    INTEGER REFERENCES content(id),
  state         TEXT NOT NULL CHECK (state IN ('pending','running','suspect','done','failed','gone')),
  todo          INTEGER NOT NULL CHECK (todo >= 0),
  bad           INTEGER NOT NULL DEFAULT 0 CHECK (bad >= 0),
  pass          INTEGER NOT NULL DEFAULT 0,
  attempts      INTEGER NOT NULL DEFAULT 0,     -- claims, never reset
  deaths        INTEGER NOT NULL DEFAULT 0,
  solo_deaths   INTEGER NOT NULL DEFAULT 0,
  suspect_step  INTEGER,                        -- set while it is tried alone: the step's bit, or -1 for any
  not_before    INTEGER NOT NULL DEFAULT 0,
  batch_id      INTEGER,                        -- the batch it is in the window of; no foreign key: no index serves it
  gone_at       INTEGER,
  CHECK ((state = 'running') = (batch_id IS NOT NULL)),
  CHECK (state <> 'done' OR (todo = 0 AND bad = 0)),
  CHECK (state <> 'failed' OR (todo = 0 AND bad <> 0)),
  CHECK (state <> 'pending' OR todo <> 0),
  CHECK ((state = 'gone') = (gone_at IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX item_place ON item(dir_id, name, job_id);
CREATE INDEX item_claim   ON item(job_id, pass, not_before, id) WHERE state = 'pending';
CREATE INDEX item_running ON item(job_id, batch_id) WHERE state = 'running';
CREATE INDEX item_suspect ON item(job_id, id) WHERE state = 'suspect';
CREATE INDEX item_failed  ON item(job_id, id) WHERE state = 'failed';
CREATE INDEX item_content ON item(content_id, job_id, id) WHERE content_id IS NOT NULL;
CREATE INDEX item_job     ON item(job_id, id);

CREATE TABLE result (
  content_id  INTEGER NOT NULL REFERENCES content(id),
  step_id     INTEGER NOT NULL REFERENCES step(id),
  body        TEXT NOT NULL,        -- JSON object
  vector      BLOB,                 -- little-endian float32, L2-normalised
  batch_id    INTEGER,
  at          INTEGER NOT NULL,
  odd         TEXT GENERATED ALWAYS AS (CASE WHEN json_valid(body) THEN json_extract(body, '$.odd') END) VIRTUAL,  -- since 2:
                                    -- what is odd about a description that is kept all the same: empty, cut, loop
  PRIMARY KEY (content_id, step_id)
) STRICT;
CREATE INDEX result_odd ON result(step_id, content_id) WHERE odd IS NOT NULL;

CREATE TABLE failure (              -- the newest failure of an item at a step; step_id 0 = all steps it still had
  item_id     INTEGER NOT NULL REFERENCES item(id) ON DELETE CASCADE,
  step_id     INTEGER NOT NULL,
  content_id  INTEGER REFERENCES content(id),   -- set when any copy of these bytes fails alike
  kind        TEXT NOT NULL,
  message     TEXT NOT NULL,
  stage       TEXT NOT NULL,
  detail      TEXT NOT NULL DEFAULT '',
  attempts    INTEGER NOT NULL,
  at          INTEGER NOT NULL,
  PRIMARY KEY (item_id, step_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX failure_content ON failure(content_id) WHERE content_id IS NOT NULL;

CREATE TABLE feed (                 -- what sinks read: one row per key, moved to the newest seq by what changes it
  job_id      INTEGER NOT NULL REFERENCES job(id) ON DELETE CASCADE,
  content_id  INTEGER NOT NULL,
  seq         INTEGER NOT NULL,
  deleted     INTEGER NOT NULL DEFAULT 0 CHECK (deleted IN (0, 1)),
  PRIMARY KEY (job_id, content_id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX feed_seq ON feed(job_id, seq);

CREATE TABLE cursor (
  job_id  INTEGER NOT NULL REFERENCES job(id) ON DELETE CASCADE,
  sink    TEXT NOT NULL,
  seq     INTEGER NOT NULL,
  token   TEXT NOT NULL,
  PRIMARY KEY (job_id, sink)
) STRICT, WITHOUT ROWID;

CREATE TABLE store (                -- where a sink keeps a job's points; the one that is current answers searches
  id           INTEGER PRIMARY KEY,
  job_id       INTEGER NOT NULL REFERENCES job(id) ON DELETE CASCADE,
  sink         TEXT NOT NULL,
  fingerprint  TEXT NOT NULL,
  place        TEXT NOT NULL,
  current      INTEGER NOT NULL CHECK (current IN (0, 1))
) STRICT;
CREATE UNIQUE INDEX store_current ON store(job_id, sink) WHERE current = 1;

CREATE TABLE timing (               -- log-spaced histogram of milliseconds per item: bucket b holds [2^(b/4), 2^((b+1)/4))
  job_id  INTEGER NOT NULL REFERENCES job(id) ON DELETE CASCADE,
  phase   TEXT NOT NULL,
  bucket  INTEGER NOT NULL,
  n       INTEGER NOT NULL,
  sum     REAL NOT NULL,
  min     REAL NOT NULL,
  max     REAL NOT NULL,
  PRIMARY KEY (job_id, phase, bucket)
) STRICT, WITHOUT ROWID;

CREATE TABLE item_move (            -- the legal moves of an item's state: policy.states.ITEM_MOVES, held equal by a test
  old  TEXT NOT NULL,
  new  TEXT NOT NULL,
  PRIMARY KEY (old, new)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER job_tally AFTER INSERT ON job BEGIN
  INSERT INTO tally(job_id) VALUES (NEW.id);
END;

CREATE TRIGGER item_added AFTER INSERT ON item BEGIN
  UPDATE tally SET
    pending = pending + (NEW.state = 'pending'),
    running = running + (NEW.state = 'running'),
    suspect = suspect + (NEW.state = 'suspect'),
    done    = done    + (NEW.state = 'done'),
    failed  = failed  + (NEW.state = 'failed'),
    gone    = gone    + (NEW.state = 'gone')
  WHERE job_id = NEW.job_id;
END;

CREATE TRIGGER item_moved AFTER UPDATE OF state ON item WHEN OLD.state <> NEW.state BEGIN
  SELECT RAISE(ABORT, 'illegal move of an item')
  WHERE NOT EXISTS (SELECT 1 FROM item_move WHERE old = OLD.state AND new = NEW.state);
  UPDATE tally SET
    pending = pending + (NEW.state = 'pending') - (OLD.state = 'pending'),
    running = running + (NEW.state = 'running') - (OLD.state = 'running'),
    suspect = suspect + (NEW.state = 'suspect') - (OLD.state = 'suspect'),
    done    = done    + (NEW.state = 'done')    - (OLD.state = 'done'),
    failed  = failed  + (NEW.state = 'failed')  - (OLD.state = 'failed'),
    gone    = gone    + (NEW.state = 'gone')    - (OLD.state = 'gone')
  WHERE job_id = NEW.job_id;
END;

PRAGMA user_version = 3;
