-- Every query of the product, each with a name and a sentence. Parameters are named. ``INDEXED BY`` stands where the
-- planner, which has no statistics, would rather walk through all items of a job (``item_job``).

-- :feed_page The keys of a job whose newest change lies after a cursor, oldest change first.
SELECT seq, content_id, deleted FROM feed WHERE job_id = :job_id AND seq > :after ORDER BY seq LIMIT :limit;

-- :content_row One content.
SELECT sha256, bytes, format, width, height FROM content WHERE id = :content_id;

-- :content_results What the steps of a job made of one content, by the names of the steps.
SELECT coalesce(job_step.name, step.kind), step.fingerprint, result.body, result.vector, result.at
FROM job_step JOIN step ON step.id = job_step.step_id
JOIN result ON result.content_id = :content_id AND result.step_id = step.id
WHERE job_step.job_id = :job_id ORDER BY job_step.bit;

-- :content_paths The paths to a content within a job, oldest item first.
SELECT root.path, dir.rel, item.name FROM item JOIN dir ON dir.id = item.dir_id JOIN root ON root.id = dir.root_id
WHERE item.content_id = :content_id AND item.job_id = :job_id AND item.state <> 'gone' ORDER BY item.id LIMIT :limit;

-- :content_paths_count How many paths a content has within a job.
SELECT count(*) FROM item WHERE content_id = :content_id AND job_id = :job_id AND state <> 'gone';

-- :feed_end The newest seq given out in a job's feed.
SELECT feed_seq FROM tally WHERE job_id = :job_id;

-- :feed_has Whether a content is in a job's feed and not deleted.
SELECT feed.seq FROM feed JOIN content ON content.id = feed.content_id
WHERE feed.job_id = :job_id AND content.sha256 = :sha256 AND feed.deleted = 0;

-- ------------------------------------------------------------------------------------------------ epochs and recovery

-- :add_epoch A daemon start.
INSERT INTO epoch(started, pid, version) VALUES (:now, :pid, :version) RETURNING id;

-- :stranded Items in flight whose batch belongs to an earlier epoch: their claims are dead by definition.
SELECT item.id, item.deaths, item.solo_deaths, item.suspect_step IS NOT NULL
FROM item INDEXED BY item_running CROSS JOIN batch ON batch.id = item.batch_id
WHERE item.job_id = :job_id AND item.state = 'running' AND batch.epoch < :epoch;

-- :end_lost_batches Batches of earlier epochs that were never ended.
UPDATE batch SET ended = :now, outcome = 'lost with the daemon' WHERE ended IS NULL AND epoch < :epoch;

-- :end_lost_scans Walks that were under way when the daemon ended; the job still owes one.
UPDATE scan SET ended = :now WHERE ended IS NULL;

-- ------------------------------------------------------------------------------------------------------ jobs and steps

-- :add_job A new job.
INSERT INTO job(uuid, name, roots, requested, sinks, status, actor, priority, created, changed)
VALUES (:uuid, :name, :roots, :requested, :sinks, 'queued', :actor, :priority, :now, :now) RETURNING id;

-- :jobs Every job.
SELECT id, uuid, name, roots, requested, resolved, sinks, status, reason, actor, until, priority, created, changed, rescan
FROM job ORDER BY id;

-- :job_status A job's new status, with who and why.
UPDATE job SET status = :status, reason = :reason, actor = :actor, changed = :now WHERE id = :job_id;

-- :job_request A job asked for again: its changed settings, and a walk owed, beside one that is under way.
UPDATE job SET requested = :requested, sinks = :sinks, changed = :now,
  rescan = 1 + EXISTS (SELECT 1 FROM scan WHERE scan.job_id = :job_id AND scan.ended IS NULL) WHERE id = :job_id;

-- :job_resolved The provenance of a job's resolved steps.
UPDATE job SET resolved = :resolved WHERE id = :job_id;

-- :add_step A step by its fingerprint; the first to be seen keeps its spec.
INSERT INTO step(kind, fingerprint, spec, provenance) VALUES (:kind, :fingerprint, :spec, :provenance)
ON CONFLICT(fingerprint) DO UPDATE SET kind = excluded.kind RETURNING id;

-- :add_job_step One bit of a job's recipe.
INSERT INTO job_step(job_id, bit, step_id, pass, spec, name, needs)
VALUES (:job_id, :bit, :step_id, :pass, :spec, :name, :needs);

-- :job_steps The recipe of a job.
SELECT job_step.bit, step.kind, step.fingerprint, coalesce(job_step.spec, step.spec), job_step.pass, job_step.name,
  job_step.needs, job_step.done, job_step.failed, step.id FROM job_step JOIN step ON step.id = job_step.step_id WHERE job_step.job_id = :job_id ORDER BY job_step.bit;

-- :tally The counters of a job.
SELECT pending, running, suspect, done, failed, gone, skipped, reused, feed_seq, committed, last_done, last_failed
FROM tally WHERE job_id = :job_id;

-- :set_skipped What the newest walk passed over.
UPDATE tally SET skipped = :skipped WHERE job_id = :job_id;

-- :cursors How far each sink of a job has got.
SELECT sink, seq, token FROM cursor WHERE job_id = :job_id;

-- :add_cursor A sink that has got nothing yet.
INSERT INTO cursor(job_id, sink, seq, token) VALUES (:job_id, :sink, 0, '');

-- :put_cursor A sink's new cursor; the last word of one that the job has no more means nothing.
UPDATE cursor SET seq = :seq, token = :token WHERE job_id = :job_id AND sink = :sink;

-- :drop_cursor A sink that a job no longer has.
DELETE FROM cursor WHERE job_id = :job_id AND sink = :sink;

-- :add_store A place where a sink keeps a job's points.
INSERT INTO store(job_id, sink, fingerprint, place, current) VALUES (:job_id, :sink, :fingerprint, :place, 1);

-- :current_store The place that is current for a sink.
SELECT fingerprint, place FROM store WHERE job_id = :job_id AND sink = :sink AND current = 1;

-- :add_root A source folder.
INSERT INTO root(path, device, fs) VALUES (:path, :device, :fs)
ON CONFLICT(path) DO UPDATE SET device = excluded.device, fs = excluded.fs RETURNING id;

-- :root_row A source folder by its id.
SELECT path, device FROM root WHERE id = :root_id;

-- ----------------------------------------------------------------------------------------------------------- the walk

-- :add_scan A walk begins.
INSERT INTO scan(job_id, started) VALUES (:job_id, :now) RETURNING id;

-- :scan_progress What a walk has seen so far.
UPDATE scan SET found = found + :found WHERE id = :scan_id;

-- :end_scan A walk ended.
UPDATE scan SET ended = :now, complete = :complete, limited = :limited, found = :found, skipped = :skipped,
  errors = :errors WHERE id = :scan_id;

-- :scan_owed A walk begins that will pay for everything asked so far.
UPDATE job SET rescan = 1 WHERE id = :job_id;

-- :scan_paid The job owes no walk any more, unless one was asked for during this one.
UPDATE job SET rescan = max(0, rescan - 1) WHERE id = :job_id;

-- :last_scan The newest walk of a job.
SELECT started, ended, complete, limited, found, skipped, errors FROM scan WHERE job_id = :job_id ORDER BY id DESC LIMIT 1;

-- :dir_id A folder's id.
SELECT id FROM dir WHERE root_id = :root_id AND rel = :rel;

-- :add_dir A folder seen for the first time.
INSERT INTO dir(root_id, rel) VALUES (:root_id, :rel) RETURNING id;

-- :add_item A file seen for the first time.
INSERT INTO item(job_id, dir_id, name, size, mtime_ns, ctime_ns, inode, state, todo, pass)
VALUES (:job_id, :dir_id, :name, :size, :mtime_ns, :ctime_ns, :inode, 'pending', :todo, :pass)
ON CONFLICT(dir_id, name, job_id) DO NOTHING;

-- :item_at An item by its place.
SELECT id, state FROM item WHERE dir_id = :dir_id AND name = :name AND job_id = :job_id;

-- :restat A file that is in flight changed: the commit will see that its bytes are older than this.
UPDATE item SET size = :size, mtime_ns = :mtime_ns, ctime_ns = :ctime_ns, inode = :inode WHERE id = :item;

-- :repend A file that changed or came back: everything is to be done again.
UPDATE item SET size = :size, mtime_ns = :mtime_ns, ctime_ns = :ctime_ns, inode = :inode, state = 'pending', todo = :todo,
  pass = :pass, bad = 0, solo_deaths = 0, suspect_step = NULL, not_before = 0, gone_at = NULL, batch_id = NULL WHERE id = :item;

-- :forget_failures An item's failures, before it is tried anew.
DELETE FROM failure WHERE item_id = :item;

-- :vanish A file that a complete listing no longer holds.
UPDATE item SET state = 'gone', gone_at = :now, batch_id = NULL, suspect_step = NULL
WHERE id = :item AND job_id = :job_id AND state <> 'gone' RETURNING content_id;

-- -------------------------------------------------------------------------------------------------- claims and commits

-- :add_batch A worker process begins.
INSERT INTO batch(job_id, epoch, started) VALUES (:job_id, :epoch, :now) RETURNING id;

-- :batch_pid The process of a batch.
UPDATE batch SET pid = :pid WHERE id = :batch_id;

-- :batch_loaded A batch's models are loaded.
UPDATE batch SET load_ms = :load_ms WHERE id = :batch_id;

-- :end_batch A worker process ended.
UPDATE batch SET ended = :now, outcome = :outcome, items = :items, peak_bytes = :peak_bytes, cpu_s = :cpu_s
WHERE id = :batch_id;

-- :claim The next pending items of a job, lowest pass first, marked as running in one statement.
UPDATE item SET state = 'running', attempts = attempts + 1, batch_id = :batch_id
WHERE id IN (SELECT id FROM item INDEXED BY item_claim WHERE state = 'pending' AND job_id = :job_id AND pass = :pass AND not_before <= :now
             ORDER BY not_before, id LIMIT :limit)
RETURNING id, dir_id, name, size, mtime_ns, ctime_ns, inode, todo;

-- :lowest_pass The lowest pass that has a pending item which may start now.
SELECT pass FROM item INDEXED BY item_claim WHERE state = 'pending' AND job_id = :job_id AND not_before <= :now
ORDER BY pass LIMIT 1;

-- :suspect_pass The pass of the suspect that is tried next.
SELECT pass FROM item INDEXED BY item_suspect WHERE state = 'suspect' AND job_id = :job_id ORDER BY id LIMIT 1;

-- :claim_suspect One suspect of a pass, to be tried alone.
UPDATE item SET state = 'running', attempts = attempts + 1, batch_id = :batch_id
WHERE id IN (SELECT id FROM item INDEXED BY item_suspect WHERE state = 'suspect' AND job_id = :job_id AND pass = :pass
             ORDER BY id LIMIT 1)
RETURNING id, dir_id, name, size, mtime_ns, ctime_ns, inode, todo;

-- :dir_path The folder of an item.
SELECT root.path, dir.rel FROM dir JOIN root ON root.id = dir.root_id WHERE dir.id = :dir_id;

-- :content_by_sha A content by its hash.
SELECT id FROM content WHERE sha256 = :sha256;

-- :step_body What a step of a job made of a content, if it did already.
SELECT body FROM job_step JOIN result ON result.content_id = :content_id AND result.step_id = job_step.step_id
WHERE job_step.job_id = :job_id AND job_step.bit = :bit;

-- :content_bits Which steps of a job have a result for a content.
SELECT job_step.bit FROM job_step JOIN result ON result.content_id = :content_id AND result.step_id = job_step.step_id
WHERE job_step.job_id = :job_id;

-- :content_failures What any copy of a content fails at: step 0 stands for all steps.
SELECT step_id, kind, message, stage, detail FROM failure WHERE content_id = :content_id;

-- :flight An item as it stands before a commit.
SELECT state, batch_id, todo, bad, content_id, ctime_ns, attempts FROM item WHERE id = :item;

-- :put_content A content, with what decoding found out about it.
INSERT INTO content(sha256, bytes, format, width, height) VALUES (:sha256, :bytes, :format, :width, :height)
ON CONFLICT(sha256) DO UPDATE SET format = coalesce(excluded.format, format), width = coalesce(excluded.width, width),
  height = coalesce(excluded.height, height) RETURNING id;

-- :put_result What a step made of a content; the first result stays.
INSERT INTO result(content_id, step_id, body, vector, batch_id, at)
VALUES (:content_id, :step_id, :body, :vector, :batch_id, :now) ON CONFLICT DO NOTHING;

-- :put_failure The newest failure of an item at a step.
INSERT INTO failure(item_id, step_id, content_id, kind, message, stage, detail, attempts, at)
VALUES (:item, :step_id, :content_id, :kind, :message, :stage, :detail, :attempts, :now)
ON CONFLICT(item_id, step_id) DO UPDATE SET content_id = excluded.content_id, kind = excluded.kind,
  message = excluded.message, stage = excluded.stage, detail = excluded.detail, attempts = excluded.attempts, at = excluded.at;

-- :settle An item's new state after a commit.
UPDATE item SET state = :state, todo = :todo, bad = :bad, pass = :pass, content_id = :content_id, size = :size,
  mtime_ns = :mtime_ns, ctime_ns = :ctime_ns, inode = :inode, batch_id = NULL, suspect_step = NULL, solo_deaths = 0
WHERE id = :item;

-- :settle_unread An item's new state when its file could not be read: what is known of its content stays.
UPDATE item SET state = :state, todo = :todo, bad = :bad, pass = :pass, batch_id = NULL, suspect_step = NULL WHERE id = :item;

-- :count_step Items with a step committed, or failed at it.
UPDATE job_step SET done = max(0, done + :done), failed = max(0, failed + :failed) WHERE job_id = :job_id AND bit = :bit;

-- :committed When a job's last commit was, how many items needed no model, and the newest items.
UPDATE tally SET committed = :now, reused = reused + :reused, last_done = coalesce(:last_done, last_done),
  last_failed = coalesce(:last_failed, last_failed) WHERE job_id = :job_id;

-- :next_seq The next seq of a job's feed.
UPDATE tally SET feed_seq = feed_seq + 1 WHERE job_id = :job_id RETURNING feed_seq;

-- :alive Whether a content has a path within a job.
SELECT EXISTS (SELECT 1 FROM item WHERE content_id = :content_id AND job_id = :job_id AND state <> 'gone');

-- :in_feed Whether a content was ever in a job's feed.
SELECT EXISTS (SELECT 1 FROM feed WHERE job_id = :job_id AND content_id = :content_id);

-- :put_feed A key moves to the newest end of a job's feed.
INSERT INTO feed(job_id, content_id, seq, deleted) VALUES (:job_id, :content_id, :seq, :deleted)
ON CONFLICT(job_id, content_id) DO UPDATE SET seq = excluded.seq, deleted = excluded.deleted;

-- :add_timing One bucket of a job's histogram of times.
INSERT INTO timing(job_id, phase, bucket, n, sum, min, max) VALUES (:job_id, :phase, :bucket, :n, :sum, :min, :max)
ON CONFLICT(job_id, phase, bucket) DO UPDATE SET n = n + excluded.n, sum = sum + excluded.sum,
  min = min(min, excluded.min), max = max(max, excluded.max);

-- :batch_flights What a worker that is gone had in its window.
SELECT id, deaths, solo_deaths, suspect_step IS NOT NULL, todo, attempts FROM item INDEXED BY item_running
WHERE job_id = :job_id AND state = 'running' AND batch_id = :batch_id;

-- :give_back An item leaves a window without a result.
UPDATE item SET state = :state, deaths = :deaths, solo_deaths = :solo_deaths, suspect_step = :suspect_step,
  batch_id = NULL WHERE id = :item;

-- :quarantine An item that killed a worker while alone in it, twice.
UPDATE item SET state = 'failed', bad = bad | todo, todo = 0, solo_deaths = :solo_deaths, suspect_step = NULL,
  batch_id = NULL WHERE id = :item;

-- :failed_page Failed items of a job with their failures, a page at a time.
SELECT item.id, item.content_id, item.bad FROM item INDEXED BY item_failed
WHERE item.state = 'failed' AND item.job_id = :job_id AND item.id > :after ORDER BY item.id LIMIT :limit;

-- :item_failures The failures of an item.
SELECT step_id, kind, message, stage, detail, attempts, at FROM failure WHERE item_id = :item ORDER BY step_id;

-- :retry A failed item is to be tried again at the steps that failed.
UPDATE item SET state = 'pending', todo = bad, bad = 0, pass = :pass, solo_deaths = 0, deaths = 0, not_before = 0
WHERE id = :item AND state = 'failed';

-- :forget_content_failures That a content failed: its copies may be tried again.
UPDATE failure SET content_id = NULL WHERE content_id = :content_id;

-- :recipe_bits The bits of a job's recipe.
SELECT bit FROM job_step WHERE job_id = :job_id;

-- :item_marks What an item had done before it changes or goes.
SELECT state, todo, bad, content_id FROM item WHERE id = :item AND job_id = :job_id;

-- The three below name their place in an index, so that the planner, which has no statistics, cannot prefer the job's.

-- :dir_page The items of one folder in one job in the order of their names, a page at a time.
SELECT item.name, item.id, item.size, item.mtime_ns, item.ctime_ns, item.inode, item.state = 'gone'
FROM dir JOIN item ON item.dir_id = dir.id AND +item.job_id = :job_id
WHERE dir.root_id = :root_id AND dir.rel = :rel AND item.name > :after ORDER BY item.name LIMIT :limit;

-- :root_page The known folders of a root from one on, in the order of their paths, a page at a time.
SELECT id, rel FROM dir WHERE root_id = :root_id AND rel >= :start ORDER BY rel LIMIT :limit;

-- :live_page The items of one folder and job that are not gone, in the order of their names, a page at a time.
SELECT name, id FROM item
WHERE dir_id = :dir_id AND +job_id = :job_id AND state <> 'gone' AND name > :after ORDER BY name LIMIT :limit;

-- ------------------------------------------------------------------------------------------------------------ reports

-- :result_bytes The mean size of a job's newest results, all steps of a content together.
SELECT coalesce(sum(length(body) + coalesce(length(vector), 0)) * 1.0 / count(DISTINCT content_id), 0)
FROM (SELECT result.content_id, result.body, result.vector FROM feed JOIN job_step USING (job_id)
      JOIN result ON result.content_id = feed.content_id AND result.step_id = job_step.step_id
      WHERE feed.job_id = :job_id ORDER BY feed.seq DESC LIMIT 300);

-- :item_path Where an item lies.
SELECT root.path, dir.rel, item.name FROM item JOIN dir ON dir.id = item.dir_id JOIN root ON root.id = dir.root_id
WHERE item.id = :item;

-- :timings A job's histogram of times.
SELECT phase, bucket, n, sum, min, max FROM timing WHERE job_id = :job_id ORDER BY phase, bucket;

-- :batch_totals A job's batches, summed up.
SELECT count(*), coalesce(sum(outcome LIKE 'died%'), 0), coalesce(sum(items), 0), coalesce(avg(load_ms), 0),
  coalesce(max(peak_bytes), 0), coalesce(sum(cpu_s), 0), coalesce(sum(coalesce(ended, :now) - started), 0)
FROM batch WHERE job_id = :job_id;

-- :attempts_total All claims of a job's items.
SELECT coalesce(sum(attempts), 0) FROM item WHERE job_id = :job_id;

-- :contents_total Distinct contents in a job's feed.
SELECT count(*) FROM feed WHERE job_id = :job_id AND deleted = 0;

-- :failures_by_kind Failed items of a job by the kind of their failure.
SELECT failure.kind, count(DISTINCT item.id) FROM item INDEXED BY item_failed CROSS JOIN failure ON failure.item_id = item.id
WHERE item.state = 'failed' AND item.job_id = :job_id GROUP BY failure.kind ORDER BY 2 DESC;

-- :odd_by_flag A job's descriptions that are odd and kept all the same, by what is odd about them.
SELECT result.odd, count(*)
FROM job_step JOIN result INDEXED BY result_odd ON result.step_id = job_step.step_id AND result.odd IS NOT NULL
JOIN feed ON feed.job_id = job_step.job_id AND feed.content_id = result.content_id AND feed.deleted = 0
WHERE job_step.job_id = :job_id GROUP BY result.odd ORDER BY 2 DESC;

-- :items_at Items with a given file name, to be compared with a whole path.
SELECT item.id, item.job_id, item.state, item.attempts, item.size, item.mtime_ns, item.content_id, root.path, dir.rel, item.name
FROM root JOIN dir ON dir.root_id = root.id JOIN item ON item.dir_id = dir.id
WHERE root.id = :root_id AND dir.rel = :rel AND item.name = :name;

-- :all_roots Every source folder.
SELECT id, path FROM root;

-- :content_dims One content for show.
SELECT sha256, format, width, height FROM content WHERE id = :content_id;

-- ------------------------------------------------------------------------------------------------------------- removal

-- :remove_page Items of a job that is being removed, a page at a time.
SELECT id, content_id FROM item WHERE job_id = :job_id ORDER BY id LIMIT :limit;

-- :remove_item One item of a job that is being removed.
DELETE FROM item WHERE id = :item;

-- :remove_feed A key of a job that is being removed.
DELETE FROM feed WHERE job_id = :job_id AND content_id = :content_id;

-- :content_used Whether any item still is this content.
SELECT EXISTS (SELECT 1 FROM item WHERE content_id = :content_id);

-- :remove_failures Failures that remember a content that goes.
UPDATE failure SET content_id = NULL WHERE content_id = :content_id;

-- :remove_results The results of a content that goes.
DELETE FROM result WHERE content_id = :content_id;

-- :remove_content A content that no item has any more.
DELETE FROM content WHERE id = :content_id;

-- :remove_job A job whose items are gone; what hangs on it goes with it.
DELETE FROM job WHERE id = :job_id;

-- ------------------------------------------------------------------------------------------- salvage of a damaged ledger

-- :user_version The schema version of a ledger.
PRAGMA user_version;

-- :table_names The tables of a database.
SELECT name FROM sqlite_schema WHERE type = 'table';

-- :salvage_steps Steps of a damaged ledger in the order of the file.
SELECT id, kind, fingerprint, spec, provenance FROM step NOT INDEXED WHERE rowid > :after ORDER BY rowid LIMIT :limit;

-- :salvage_contents Contents of a damaged ledger in the order of the file.
SELECT id, sha256, kind, bytes, format, width, height FROM content NOT INDEXED
WHERE rowid > :after ORDER BY rowid LIMIT :limit;

-- :salvage_results Results of a damaged ledger in the order of the file.
SELECT rowid, content_id, step_id, body, vector, at FROM result NOT INDEXED
WHERE rowid > :after ORDER BY rowid LIMIT :limit;

-- :add_salvaged_step A step under the id that it had.
INSERT INTO step(id, kind, fingerprint, spec, provenance) VALUES (?, ?, ?, ?, ?);

-- :add_salvaged_content A content under the id that it had.
INSERT INTO content(id, sha256, kind, bytes, format, width, height) VALUES (?, ?, ?, ?, ?, ?, ?);

-- :add_salvaged_result A result; the batch that made it is not known any more.
INSERT INTO result(content_id, step_id, body, vector, at) VALUES (?, ?, ?, ?, ?);
