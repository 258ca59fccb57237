-- Additive changes of an older ledger, one section per version that it is brought to. What they make is what schema.sql
-- makes of a new ledger; a test compares the two.

-- :to_2 Odd descriptions are found without reading every body; a job has its own way to a model that others have too.
ALTER TABLE result ADD COLUMN odd TEXT GENERATED ALWAYS AS (CASE WHEN json_valid(body) THEN json_extract(body, '$.odd') END) VIRTUAL;
ALTER TABLE job_step ADD COLUMN spec TEXT;
CREATE INDEX result_odd ON result(step_id, content_id) WHERE odd IS NOT NULL;

-- :to_3 A job may have several steps of one kind, each under a name of its own, and steps read others by these names.
ALTER TABLE job_step ADD COLUMN name TEXT;
ALTER TABLE job_step ADD COLUMN needs TEXT;
