-- schema_version: 6
--
-- Tailrace's side of the database: the event log (schema `tailrace`) and the application's tables
-- (schema `public`). Idempotent; applied in one transaction by `tailrace migrate`, which reads the
-- number in the first line. docs/event-log.md tells why each part is as it is.

CREATE SCHEMA IF NOT EXISTS tailrace;

CREATE TABLE IF NOT EXISTS tailrace.schema_version (
  version    integer PRIMARY KEY,
  applied_at timestamptz NOT NULL DEFAULT now()
);

-- ---------------------------------------------------------------------------------------------
-- The log
-- ---------------------------------------------------------------------------------------------

-- Where writers put events, inside their own transaction. Unordered: ids are taken before commit.
CREATE TABLE IF NOT EXISTS tailrace.outbox (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  channel    text COLLATE "C" NOT NULL,
  type       text NOT NULL,
  key        text,
  message_id uuid,  -- made by the stamper where nobody has chosen one: writers' time is dearer
  data       json NOT NULL
) WITH (
  -- A queue: rows live for milliseconds, so dead ones are what slows the next stamp down.
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
  autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0,
  autovacuum_analyze_threshold = 1000000000
);

-- What readers read: positions are dense and become visible in order. Partitions are attached
-- ahead of the head and dropped behind the floor by the server (server/log/retention.py).
CREATE TABLE IF NOT EXISTS tailrace.event (
  pos        bigint NOT NULL,
  at         timestamptz NOT NULL,
  channel    text COLLATE "C" NOT NULL,
  type       text NOT NULL,
  key        text,
  message_id uuid NOT NULL,
  data       json NOT NULL,
  PRIMARY KEY (pos)
) PARTITION BY RANGE (pos);
CREATE INDEX IF NOT EXISTS event_channel_pos ON tailrace.event (channel, pos);

-- One row. `pos`: the last position given. `floor`: events at or below it may be gone.
CREATE TABLE IF NOT EXISTS tailrace.head (
  one   boolean PRIMARY KEY DEFAULT true CHECK (one),
  pos   bigint NOT NULL DEFAULT 0,
  floor bigint NOT NULL DEFAULT 0 CHECK (floor <= pos),
  epoch text NOT NULL CHECK (epoch ~ '^[0-9a-f]{8}$')
) WITH (
  fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0
);

-- One row: until when a busy stamper polls by itself, so that writers need not notify.
CREATE TABLE IF NOT EXISTS tailrace.lease (
  one         boolean PRIMARY KEY DEFAULT true CHECK (one),
  awake_until timestamptz NOT NULL DEFAULT '-infinity'
) WITH (
  fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0
);
INSERT INTO tailrace.lease DEFAULT VALUES ON CONFLICT DO NOTHING;

-- Which history positions belong to. A restored dump or a lossy failover gives positions a second
-- time; each such fork is a row: `fork` is the last position shared with the epochs before it.
CREATE TABLE IF NOT EXISTS tailrace.epoch_history (
  epoch       text PRIMARY KEY,
  seq         integer GENERATED ALWAYS AS IDENTITY UNIQUE,
  fork        bigint NOT NULL,
  fingerprint text NOT NULL,
  at          timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Message ids that callers gave, for a day: a repeated publish emits nothing.
CREATE TABLE IF NOT EXISTS tailrace.message (
  message_id uuid PRIMARY KEY,
  at         timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS message_at ON tailrace.message USING brin (at);

-- What processes answer each other; who has asked takes the rows away. No crash needs them.
CREATE UNLOGGED TABLE IF NOT EXISTS tailrace.report (
  request uuid NOT NULL,
  process text NOT NULL,
  body    json NOT NULL,
  at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (request, process)
);

-- ---------------------------------------------------------------------------------------------
-- Epochs
-- ---------------------------------------------------------------------------------------------

-- What makes this database this one: system, timeline, database and the head's relation. The
-- timeline comes from the WAL's name: pg_control_checkpoint() lags behind a promotion.
CREATE OR REPLACE FUNCTION tailrace.fingerprint() RETURNS text
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT concat_ws('/',
    (SELECT system_identifier FROM pg_control_system()),
    substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),
    (SELECT oid FROM pg_database WHERE datname = current_database()),
    'tailrace.head'::regclass::oid)
$$;

-- Start a new epoch at the present head, under the head lock.
CREATE OR REPLACE FUNCTION tailrace.epoch_new() RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  fresh text := substr(md5(gen_random_uuid()::text), 1, 8);
  found bigint;
BEGIN
  SELECT pos INTO found FROM tailrace.head FOR UPDATE;
  IF found IS NULL THEN
    INSERT INTO tailrace.head (epoch) VALUES (fresh);
    found := 0;
  ELSE
    UPDATE tailrace.head SET epoch = fresh;
  END IF;
  INSERT INTO tailrace.epoch_history (epoch, fork, fingerprint)
  VALUES (fresh, found, tailrace.fingerprint());
  PERFORM pg_notify('tailrace', 'n');
  RETURN fresh;
END
$$;

-- Called on every new connection before it may stamp or label an event: the current epoch, or a
-- new one when this is not the database that the stored fingerprint tells of.
CREATE OR REPLACE FUNCTION tailrace.epoch_check() RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  current text;
BEGIN
  SELECT h.epoch INTO current FROM tailrace.head h
    JOIN tailrace.epoch_history e USING (epoch)
    WHERE e.fingerprint = tailrace.fingerprint();
  IF FOUND THEN RETURN current; END IF;
  -- Somebody else may be adding the same epoch: look again under the lock.
  PERFORM 1 FROM tailrace.head FOR UPDATE;
  SELECT h.epoch INTO current FROM tailrace.head h
    JOIN tailrace.epoch_history e USING (epoch)
    WHERE e.fingerprint = tailrace.fingerprint();
  IF FOUND THEN RETURN current; END IF;
  RETURN tailrace.epoch_new();
END
$$;

DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM tailrace.head) THEN PERFORM tailrace.epoch_new(); END IF;
END $$;

-- ---------------------------------------------------------------------------------------------
-- Partitions
-- ---------------------------------------------------------------------------------------------

-- Make sure that positions up to `upto` have a partition. Each is made standalone and attached:
-- CREATE … PARTITION OF would take ACCESS EXCLUSIVE on the parent and queue behind a pg_dump.
CREATE OR REPLACE FUNCTION tailrace.extend(upto bigint, size bigint) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  lo   bigint;
  made integer := 0;
  part text;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('tailrace.extend'));
  SELECT coalesce(max(split_part(c.relname, '_', 3)::bigint), 1) INTO lo
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'tailrace.event'::regclass AND c.relkind = 'r';
  SELECT greatest(lo, h.floor + 1) INTO lo FROM tailrace.head h;
  WHILE lo <= upto LOOP
    part := format('event_%s_%s', lo, lo + size);
    EXECUTE format('CREATE TABLE tailrace.%I (LIKE tailrace.event INCLUDING DEFAULTS,
      CHECK (pos IS NOT NULL AND pos >= %s AND pos < %s))', part, lo, lo + size);
    EXECUTE format('ALTER TABLE tailrace.event ATTACH PARTITION tailrace.%I
      FOR VALUES FROM (%s) TO (%s)', part, lo, lo + size);
    lo := lo + size;
    made := made + 1;
  END LOOP;
  RETURN made;
END
$$;

-- ---------------------------------------------------------------------------------------------
-- Stamping
-- ---------------------------------------------------------------------------------------------

-- The JSON text of an event on the wire; `data` goes through unparsed. Inlined by the planner.
CREATE OR REPLACE FUNCTION tailrace.body(
  channel text, type text, key text, at timestamptz, message_id uuid, data json
) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT '{"channel":"' || channel || '","type":' || to_json(type) || ',"key":'
    || coalesce(to_json(key)::text, 'null') || ',"at":"'
    || to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
    || '","message_id":"' || message_id || '","data":' || data || '}'
$$;

-- A stamper's word that it polls for so long: until then writers need not notify.
CREATE OR REPLACE FUNCTION tailrace.promise(lease_ms integer) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  UPDATE tailrace.lease SET awake_until = clock_timestamp() + lease_ms * interval '1 ms'
  WHERE awake_until NOT BETWEEN clock_timestamp() + (lease_ms - 100) * interval '1 ms'
    AND clock_timestamp() + (lease_ms + 100) * interval '1 ms'
$$;

-- Give positions to what is committed in the outbox: at most `max_rows` and about 8 MB, in order
-- of id. One autocommit statement at READ COMMITTED. The head's row lock comes first, and each
-- statement below takes its snapshot after it: so positions become visible densely and in order.
-- With `lease_ms` it extends the caller's promise.
--
-- Returns what it stamped, the bodies only if they are small. The rows are sent before the commit:
-- a caller that has stopped reading must not hold up the lock, so they have to fit into any
-- socket's buffer.
DROP FUNCTION IF EXISTS tailrace.stamp(integer, integer);
CREATE FUNCTION tailrace.stamp(max_rows integer, lease_ms integer DEFAULT 0)
RETURNS TABLE (epoch text, pos bigint, channel text, key text, body text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  last  bigint;
  era   text;
  moved bigint;
BEGIN
  IF NOT EXISTS (SELECT FROM tailrace.outbox) THEN RETURN; END IF;
  SELECT h.pos, h.epoch INTO last, era FROM tailrace.head h FOR UPDATE;
  RETURN QUERY
  WITH batch AS (
    -- Under the lock nobody else deletes and nobody updates: a row's ctid stays its own.
    DELETE FROM tailrace.outbox o
    WHERE o.ctid = ANY (ARRAY(
      SELECT ctid FROM (
        SELECT ctid, row_number() OVER w AS n, sum(pg_column_size(data)) OVER w AS size
        FROM (SELECT ctid, id, data FROM tailrace.outbox ORDER BY id LIMIT max_rows) oldest
        WINDOW w AS (ORDER BY id ROWS UNBOUNDED PRECEDING)
      ) sized WHERE n = 1 OR size <= 8000000))
    RETURNING o.*
  ), stamped AS (
    INSERT INTO tailrace.event (pos, at, channel, type, key, message_id, data)
    SELECT last + row_number() OVER (ORDER BY b.id),
           b.at, b.channel, b.type, b.key, coalesce(b.message_id, gen_random_uuid()), b.data
    FROM batch b
    RETURNING *
  ), sized AS (
    SELECT s.*, sum(octet_length(s.data::text) + coalesce(octet_length(s.key), 0) + 300) OVER ()
      <= 32000 AS small
    FROM stamped s
  )
  SELECT era, s.pos, CASE WHEN s.small THEN s.channel::text END, CASE WHEN s.small THEN s.key END,
         CASE WHEN s.small
           THEN tailrace.body(s.channel, s.type, s.key, s.at, s.message_id, s.data) END
  FROM sized s ORDER BY s.pos;
  GET DIAGNOSTICS moved = ROW_COUNT;
  IF moved = 0 THEN RETURN; END IF;
  UPDATE tailrace.head SET pos = last + moved;
  IF lease_ms > 0 THEN PERFORM tailrace.promise(lease_ms); END IF;
  PERFORM pg_notify('tailrace', (last + 1) || '-' || (last + moved));
END
$$;

-- Writers wake a stamper by NOTIFY only if none has promised to poll: NOTIFY in every transaction
-- would make commits wait for each other's WAL flush. A writer asks when its insert has given it
-- its lock on the outbox, which it keeps until its end; a promise that it has read before (it is
-- kept in the session as Unix milliseconds) is good until it runs out, for leases only grow.
CREATE OR REPLACE FUNCTION tailrace.unheard() RETURNS boolean
LANGUAGE sql VOLATILE AS $$
  SELECT floor(date_part('epoch', clock_timestamp()) * 1000)::bigint::text COLLATE "C"
    >= coalesce(current_setting('tailrace.awake', true), '')
$$;

-- Look whether a stamper has promised to poll, and notify if not: once in a transaction. (A promise
-- for longer than anybody makes one is from before the clock was set back.)
CREATE OR REPLACE FUNCTION tailrace.wake() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  promise timestamptz := (SELECT awake_until FROM tailrace.lease);
BEGIN
  IF promise > clock_timestamp() AND promise < clock_timestamp() + interval '5 s' THEN
    PERFORM set_config('tailrace.awake',
      floor(date_part('epoch', promise) * 1000)::bigint::text, false);
  ELSIF current_setting('tailrace.poke', true) IS DISTINCT FROM 'off' THEN
    PERFORM pg_notify('tailrace', ''), set_config('tailrace.awake', '9', true);
  END IF;
END
$$;

-- How many other transactions that have put something into the outbox are still open.
CREATE OR REPLACE FUNCTION tailrace.writers() RETURNS bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT count(*) FROM pg_locks
  WHERE relation = 'tailrace.outbox'::regclass AND mode = 'RowExclusiveLock'
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND pid IS DISTINCT FROM pg_backend_pid()
$$;

-- Whether a stamper that polls may go to sleep: its promise has run out, and nobody else holds a
-- lock on the outbox. A writer who relied on the promise did so before it ran out; either it has
-- committed since (so that one more stamp finds its events) or it is still found here.
CREATE OR REPLACE FUNCTION tailrace.may_sleep() RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT (SELECT awake_until NOT BETWEEN clock_timestamp() AND clock_timestamp() + interval '5 s'
      FROM tailrace.lease)
    AND tailrace.writers() = 0
$$;

-- ---------------------------------------------------------------------------------------------
-- For users: publish, watch, position
-- ---------------------------------------------------------------------------------------------

-- Bytes of JSON text that one event's data may have.
CREATE OR REPLACE FUNCTION tailrace.max_data_bytes() RETURNS integer
LANGUAGE sql IMMUTABLE AS 'SELECT 1048576';

-- The first fault of an event's fields as a sentence, or NULL. `ops.>` is the server's alone.
CREATE OR REPLACE FUNCTION tailrace.fault(channel text, type text, key text, bytes integer)
RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE
    WHEN channel IS NULL OR length(channel) > 200
      OR channel !~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$'
      THEN 'channel must be segments of [A-Za-z0-9_-] joined by dots, at most 200 characters'
    WHEN channel ~ '^ops(\.|$)' THEN 'channels under ops belong to the server'
    WHEN type IS NULL OR type = '' OR length(type) > 100 OR type ~ '[\x01-\x1f\x7f]'
      THEN 'type must have 1 to 100 characters and no control characters'
    WHEN length(key) > 512 OR key ~ '[\x01-\x1f\x7f]'
      THEN 'key must have at most 512 characters and no control characters'
    WHEN bytes IS NULL THEN 'data must be JSON, not NULL'
    WHEN bytes > tailrace.max_data_bytes()
      THEN format('data has %s bytes, more than the limit of %s', bytes, tailrace.max_data_bytes())
  END
$$;

-- Publish one event in the caller's transaction; returns its message id. A message_id given a
-- second time within 24 hours emits nothing.
-- Errors: 22023 for a bad channel, type or key; 54000 for data over tailrace.max_data_bytes().
CREATE OR REPLACE FUNCTION tailrace.publish(
  channel text, type text, data jsonb, key text DEFAULT NULL, message_id uuid DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  text_  text := publish.data::text;
  fault  text := tailrace.fault(publish.channel, publish.type, publish.key, octet_length(text_));
  id_    uuid := coalesce(publish.message_id, gen_random_uuid());
BEGIN
  IF fault IS NOT NULL THEN
    RAISE EXCEPTION 'tailrace.publish: %', fault
      USING ERRCODE = CASE WHEN fault LIKE 'data has %' THEN '54000' ELSE '22023' END;
  END IF;
  IF publish.message_id IS NOT NULL THEN
    INSERT INTO tailrace.message (message_id) VALUES (id_) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN RETURN id_; END IF;
  END IF;
  INSERT INTO tailrace.outbox (channel, type, key, message_id, data)
  VALUES (publish.channel, publish.type, publish.key, id_, text_::json);
  IF tailrace.unheard() THEN PERFORM tailrace.wake(); END IF;
  RETURN id_;
END
$$;

-- The server's own door: many events in one statement, valid already. It never pokes: the caller
-- wakes its stamper itself after the commit. `given` tells which ids the callers chose. Ids are taken in order, so that two batches cannot deadlock.
CREATE OR REPLACE FUNCTION tailrace.publish_batch(
  channels text[], types text[], keys text[], ids uuid[], given boolean[], datas text[]
) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
-- A message_id that another transaction holds must not hold up everybody who shares this one.
SET lock_timeout = '2s' AS $$
  WITH item AS (
    SELECT * FROM unnest(channels, types, keys, ids, given, datas)
      WITH ORDINALITY AS t (channel, type, key, id, given, data, n)
  ), fresh AS (
    INSERT INTO tailrace.message (message_id)
    SELECT id FROM item WHERE given GROUP BY id ORDER BY id
    ON CONFLICT DO NOTHING RETURNING message_id
  )
  INSERT INTO tailrace.outbox (channel, type, key, message_id, data)
  SELECT channel, type, key, id, data::json FROM item
  WHERE NOT given OR (
    id IN (SELECT message_id FROM fresh)
    AND n = (SELECT min(same.n) FROM item same WHERE same.given AND same.id = item.id))
  ORDER BY n
$$;

-- The SSE id of the caller's snapshot. Read in one statement, or one REPEATABLE READ transaction,
-- with the data: a stream opened `after` it misses nothing that the data does not show.
CREATE OR REPLACE FUNCTION tailrace.position() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT epoch || '.' || pos FROM tailrace.head
$$;

-- Move the floor up to `upto` (never down, never past the head); the server then drops what lies
-- below. The floor is committed alone, before anything is removed: readers rely on it.
CREATE OR REPLACE FUNCTION tailrace.prune(upto bigint) RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  UPDATE tailrace.head SET floor = greatest(floor, least(upto, pos)) RETURNING floor
$$;

-- A row's value as a segment of a channel: what a segment may not hold becomes '-'.
CREATE OR REPLACE FUNCTION tailrace.segment(value text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
  SELECT coalesce(nullif(regexp_replace(value, '[^A-Za-z0-9_-]', '-', 'g'), ''), '-')
$$;

-- The primary key's columns of a table, in the order of its index.
CREATE OR REPLACE FUNCTION tailrace.key_columns(relation oid) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(array_agg(a.attname::text ORDER BY k.n), '{}')
  FROM pg_index i, unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, n), pg_attribute a
  WHERE i.indrelid = relation AND i.indisprimary
    AND a.attrelid = relation AND a.attnum = k.attnum AND k.n <= i.indnkeyatts
$$;

-- An event's key for a row: the value of a single key column, a JSON array of several. NULL
-- where there is no key or a column of it is not there.
CREATE OR REPLACE FUNCTION tailrace.row_key(data json, columns text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  key  text := '';
  item text;
  name text;
BEGIN
  IF cardinality(columns) = 1 THEN
    key := data ->> columns[1];
  ELSE
    FOREACH name IN ARRAY columns LOOP
      item := data ->> name;
      IF item IS NULL THEN RETURN NULL; END IF;
      key := key || ',' || to_json(item);
    END LOOP;
    key := '[' || nullif(substr(key, 2), '') || ']';
  END IF;
  key := regexp_replace(key, '[\x01-\x1f\x7f]', ' ', 'g');
  IF length(key) > 512 THEN key := left(key, 470) || '~' || md5(key); END IF;
  RETURN key;
END
$$;

-- The channel of a row: `{column}` in the template is the row's value, as one segment.
CREATE OR REPLACE FUNCTION tailrace.fill(template text, data json) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  name text;
BEGIN
  WHILE template ~ '\{' LOOP
    name := substring(template FROM '\{([^}]*)\}');
    template := replace(template, '{' || name || '}', tailrace.segment(data ->> name));
  END LOOP;
  RETURN rtrim(left(template, 200), '.');
END
$$;

-- The columns of a table that an event's key and channel are made of.
CREATE OR REPLACE FUNCTION tailrace.needed(relation oid, template text) RETURNS text[]
LANGUAGE sql STABLE AS $$
  SELECT tailrace.key_columns(relation)
    || ARRAY(SELECT m[1] FROM regexp_matches(template, '\{([^{}]+)\}', 'g') m)
$$;

-- Some columns of a row as JSON, without touching the others.
CREATE OR REPLACE FUNCTION tailrace.pick(entry record, columns text[]) RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
  picked json;
BEGIN
  EXECUTE 'SELECT json_build_object('
    || (SELECT string_agg(format('%L, ($1).%I', c, c), ', ') FROM unnest(columns) c) || ')'
    INTO picked USING entry;
  RETURN picked;
END
$$;

-- Those members of a JSON object that are named.
CREATE OR REPLACE FUNCTION tailrace.members(data json, names text[]) RETURNS json
LANGUAGE sql IMMUTABLE AS $$
  SELECT json_object_agg(key, value) FROM json_each(data) WHERE key = ANY (names)
$$;

-- Put the change of a row into the outbox. `fresh` and `stale` are the row as JSON; of a `broken`
-- one only the columns of its key and channel. Whatever goes wrong in here, it is announced.
CREATE OR REPLACE FUNCTION tailrace.announce(
  template text, key_column text, columns text, op text, relation oid,
  fresh json, stale json, broken boolean
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  shown  json := coalesce(fresh, stale);
  target text;
  source text;
  key_   text;
  was    text;
  data_  text := '{"truncated":true}';
BEGIN
  -- watch() refuses these; a trigger made by hand must not get around it.
  IF template ~ '^[^.]*\{' THEN template := tailrace.table_channel(relation); END IF;
  BEGIN
    target := tailrace.fill(template, shown);
    key_ := shown ->> key_column;
    IF key_ IS NULL OR length(key_) > 512 OR key_ ~ '[\x01-\x1f\x7f]' THEN
      key_ := tailrace.row_key(shown, tailrace.key_columns(relation));
    END IF;
    IF NOT broken THEN
      IF op = 'UPDATE' THEN
        source := tailrace.fill(template, stale);
        was := coalesce(stale ->> key_column,
          tailrace.row_key(stale, tailrace.key_columns(relation)));
      END IF;
      IF columns <> '' THEN
        fresh := tailrace.members(fresh, columns::text[]);
        stale := tailrace.members(stale, columns::text[]);
        IF op = 'UPDATE' AND source = target AND fresh::text = stale::text THEN
          RETURN;  -- nothing that is shown has changed
        END IF;
      END IF;
      IF source <> target THEN stale := NULL; END IF;  -- its new readers may not know it
      data_ := '{"new":' || coalesce(fresh::text, 'null')
        || ',"old":' || coalesce(stale::text, 'null') || '}';
      IF octet_length(data_) > tailrace.max_data_bytes() THEN data_ := '{"truncated":true}'; END IF;
    END IF;
  EXCEPTION WHEN OTHERS THEN
    target := tailrace.table_channel(relation);
    source := NULL;
    data_ := '{"truncated":true}';
  END;
  IF tailrace.fault(target, 'x', NULL, 0) IS NOT NULL THEN
    target := tailrace.table_channel(relation);
    source := NULL;
  END IF;
  IF source <> target AND tailrace.fault(source, 'x', was, 0) IS NULL THEN
    -- The row left this channel.
    INSERT INTO tailrace.outbox (channel, type, key, data)
    VALUES (source, 'delete', was, '{"new":null,"old":null}');
  END IF;
  INSERT INTO tailrace.outbox (channel, type, key, data)
  VALUES (target, lower(op), key_, data_::json);
  IF tailrace.unheard() THEN PERFORM tailrace.wake(); END IF;
END
$$;

-- The row trigger of a watched table whose owner we trust. Arguments: the channel, the key's
-- column if it is a single one, and for a channel that is a template or for chosen columns a
-- third: these columns or ''. Not to be granted: to_json() runs casts that belong to the owners
-- of the table and its types, here with our rights.
--
-- It must never fail the user's write: a row that cannot be told (a json column may hold what
-- can't be read back; a cast may raise) is announced by its key and channel alone. The guarded
-- block writes nothing, so its subtransaction costs little. Every expression here is paid by the
-- user's transaction: a plain watch runs through as few as there can be.
CREATE OR REPLACE FUNCTION tailrace.capture() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  fresh  json;
  stale  json;
  key_   text;
  data_  text;
  plain  boolean;
BEGIN
  BEGIN
    IF TG_OP = 'INSERT' THEN
      fresh := to_json(NEW);
      key_ := fresh ->> TG_ARGV[1];
      data_ := '{"new":' || fresh || ',"old":null}';
    ELSIF TG_OP = 'UPDATE' THEN
      fresh := to_json(NEW);
      stale := to_json(OLD);
      key_ := fresh ->> TG_ARGV[1];
      data_ := '{"new":' || fresh || ',"old":' || stale || '}';
    ELSE
      stale := to_json(OLD);
      key_ := stale ->> TG_ARGV[1];
      data_ := '{"new":null,"old":' || stale || '}';
    END IF;
    -- Without a backslash in its JSON the row has no control characters: the regular expression
    -- would cost as much as all the rest of this line.
    plain := TG_NARGS = 2 AND octet_length(data_) <= 1048576 AND length(key_) <= 512
      AND (strpos(data_, '\') = 0 OR key_ !~ '[\x01-\x1f\x7f]');
  EXCEPTION WHEN OTHERS THEN
    stale := NULL;
    BEGIN
      fresh := tailrace.pick(CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END,
        tailrace.needed(TG_RELID, TG_ARGV[0]));
    EXCEPTION WHEN OTHERS THEN
      fresh := NULL;
    END;
  END;
  IF plain THEN
    INSERT INTO tailrace.outbox (channel, type, key, data)
    VALUES (TG_ARGV[0], lower(TG_OP), key_, data_::json);
    IF tailrace.unheard() THEN PERFORM tailrace.wake(); END IF;
  ELSE
    PERFORM tailrace.announce(TG_ARGV[0], TG_ARGV[1], coalesce(TG_ARGV[2], ''), TG_OP, TG_RELID,
      fresh, stale, broken => data_ IS NULL);
  END IF;
  RETURN NULL;
END
$$;

-- The same for a table, or types, of somebody else, in two triggers that fire for each row in
-- this order: tell() makes the JSON with the writer's rights, capture_told() takes it as text.
-- What passes between them is the transaction's own setting: a writer could only forge what is
-- told of rows that it may write anyway. Argument of tell(): the columns of key and channel.
CREATE OR REPLACE FUNCTION tailrace.tell() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  fresh  json;
  stale  json;
  picked text;
BEGIN
  BEGIN
    IF TG_OP <> 'DELETE' THEN fresh := to_json(NEW); END IF;
    IF TG_OP <> 'INSERT' THEN stale := to_json(OLD); END IF;
    PERFORM fresh ->> '', stale ->> '';  -- raises what capture_told() could not read
    PERFORM set_config('tailrace.new', coalesce(fresh::text, ''), true),
            set_config('tailrace.old', coalesce(stale::text, ''), true);
  EXCEPTION WHEN OTHERS THEN
    BEGIN
      EXECUTE 'SELECT json_build_object('
        || (SELECT string_agg(format('%L, ($1).%I::text', c, c), ', ')
            FROM unnest(TG_ARGV[0]::text[]) c) || ')::text'
        INTO picked USING CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    EXCEPTION WHEN OTHERS THEN
      picked := NULL;
    END;
    PERFORM set_config('tailrace.new', coalesce(picked, ''), true),
            set_config('tailrace.old', 'broken', true);
  END;
  RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION tailrace.capture_told() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  fresh  text := nullif(current_setting('tailrace.new', true), '');
  stale  text := nullif(current_setting('tailrace.old', true), '');
  broken boolean := coalesce(fresh, stale) IS NULL OR stale IS NOT DISTINCT FROM 'broken';
BEGIN
  BEGIN
    PERFORM fresh::json, CASE WHEN broken THEN NULL ELSE stale::json END;
  EXCEPTION WHEN OTHERS THEN
    fresh := NULL;
    broken := true;
  END;
  PERFORM tailrace.announce(TG_ARGV[0], TG_ARGV[1], TG_ARGV[2], TG_OP, TG_RELID,
    fresh::json, CASE WHEN broken THEN NULL ELSE stale::json END, broken);
  RETURN NULL;
END
$$;

-- The statement trigger of a watched table: TRUNCATE has no rows to tell of.
CREATE OR REPLACE FUNCTION tailrace.capture_truncate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO tailrace.outbox (channel, type, data)
  VALUES (CASE WHEN tailrace.fault(TG_ARGV[0], 'x', NULL, 0) IS NOT NULL
    THEN tailrace.table_channel(TG_RELID) ELSE TG_ARGV[0] END,
    'truncate', '{"new":null,"old":null}');
  IF tailrace.unheard() THEN PERFORM tailrace.wake(); END IF;
  RETURN NULL;
END
$$;

-- The channel of a table that was given none: table.<schema>.<table>.
CREATE OR REPLACE FUNCTION tailrace.table_channel(relation oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT left('table.' || tailrace.segment(n.nspname) || '.' || tailrace.segment(c.relname), 200)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation
$$;

-- Whether a table and the types of its columns belong to us or to superusers: then what to_json()
-- runs for a row of it may run with our rights.
CREATE OR REPLACE FUNCTION tailrace.trusted(relation oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT bool_and(o.owner = p.proowner OR r.rolsuper)
  FROM pg_proc p, (
    SELECT relowner AS owner FROM pg_class WHERE oid = relation
    UNION SELECT t.typowner FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
  ) o JOIN pg_roles r ON r.oid = o.owner
  WHERE p.oid = 'tailrace.capture()'::regprocedure
$$;

-- Announce every change of a table as an event in the same transaction: type insert, update,
-- delete or truncate; key the primary key; data {"new":…,"old":…}. `channel` may hold `{column}`
-- for the row's value (`user.{user_id}.orders`). `columns` limits what is shown, and updates
-- that change none of them are not announced. Called again, it replaces the former watch.
CREATE OR REPLACE FUNCTION tailrace.watch(
  "table" regclass, channel text DEFAULT NULL, columns text[] DEFAULT NULL
) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $$
DECLARE
  target text := coalesce(watch.channel, tailrace.table_channel(watch."table"));
  fault  text := tailrace.fault(regexp_replace(target, '\{[^{}]+\}', 'x', 'g'), 'watch', NULL, 0);
  name   text;
  names  text[];
  key_   text;
BEGIN
  IF fault IS NOT NULL THEN
    RAISE EXCEPTION 'tailrace.watch: %', fault USING ERRCODE = '22023';
  END IF;
  IF target ~ '^[^.]*\{' THEN
    RAISE EXCEPTION 'tailrace.watch: the first segment of a channel decides who may read it:'
      ' it cannot come from a row' USING ERRCODE = '22023';
  END IF;
  IF NOT EXISTS (SELECT FROM pg_class WHERE oid = watch."table" AND relkind IN ('r', 'p')) THEN
    RAISE EXCEPTION 'tailrace.watch: % is not a table', watch."table" USING ERRCODE = '42809';
  END IF;
  FOR name IN
    SELECT unnest(watch.columns)
    UNION SELECT m[1] FROM regexp_matches(target, '\{([^{}]+)\}', 'g') m
  LOOP
    IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = watch."table" AND attname = name
        AND attnum > 0 AND NOT attisdropped) THEN
      RAISE EXCEPTION 'tailrace.watch: % has no column %', watch."table", quote_ident(name)
        USING ERRCODE = '42703';
    END IF;
  END LOOP;
  names := tailrace.key_columns(watch."table");
  key_  := CASE WHEN cardinality(names) = 1 THEN names[1] ELSE '' END;
  IF tailrace.trusted(watch."table") THEN
    EXECUTE format('DROP TRIGGER IF EXISTS tailrace_tell ON %s', watch."table");
    EXECUTE format('CREATE OR REPLACE TRIGGER tailrace_watch
      AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW
      EXECUTE FUNCTION tailrace.capture(%L, %L%s)', watch."table", target, key_,
      CASE WHEN strpos(target, '{') > 0 OR watch.columns IS NOT NULL
        THEN format(', %L', coalesce(watch.columns::text, '')) END);
  ELSE
    EXECUTE format('CREATE OR REPLACE TRIGGER tailrace_tell
      AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW
      EXECUTE FUNCTION tailrace.tell(%L)', watch."table",
      tailrace.needed(watch."table", target));
    EXECUTE format('CREATE OR REPLACE TRIGGER tailrace_watch
      AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW
      EXECUTE FUNCTION tailrace.capture_told(%L, %L, %L)', watch."table", target, key_,
      coalesce(watch.columns::text, ''));
  END IF;
  EXECUTE format('CREATE OR REPLACE TRIGGER tailrace_watch_truncate
    AFTER TRUNCATE ON %s FOR EACH STATEMENT
    EXECUTE FUNCTION tailrace.capture_truncate(%L)', watch."table", target);
  RETURN target;
END
$$;

-- End a watch. Nothing happens where there is none.
CREATE OR REPLACE FUNCTION tailrace.unwatch("table" regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $$
BEGIN
  EXECUTE format('DROP TRIGGER IF EXISTS tailrace_tell ON %s', unwatch."table");
  EXECUTE format('DROP TRIGGER IF EXISTS tailrace_watch ON %s', unwatch."table");
  EXECUTE format('DROP TRIGGER IF EXISTS tailrace_watch_truncate ON %s', unwatch."table");
END
$$;

-- Nothing is open to everybody; docs/event-log.md tells what to grant to whom.
REVOKE ALL ON SCHEMA tailrace FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA tailrace FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------
-- The application's tables
-- ---------------------------------------------------------------------------------------------

-- A table of the same name that is somebody else's must not be taken for ours.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['users', 'sessions', 'api_keys', 'notifications', 'posts', 'contacts',
    'webhook_deliveries', 'webhook_sources', 'webhook_secrets', 'payments', 'refunds',
    'subscriptions', 'uploads']
  LOOP
    IF to_regclass('public.' || name) IS NOT NULL
      AND coalesce(obj_description(to_regclass('public.' || name), 'pg_class'), '')
        NOT LIKE 'tailrace:%' THEN
      RAISE EXCEPTION 'the table public.% exists and is not Tailrace''s: give Tailrace a database'
        ' of its own, or rename that table', name USING ERRCODE = '42P07';
    END IF;
  END LOOP;
END $$;

CREATE TABLE IF NOT EXISTS public.users (
  -- Also a segment of the user's channels.
  id            text PRIMARY KEY DEFAULT replace(gen_random_uuid()::text, '-', '')
                CHECK (id ~ '^[A-Za-z0-9_-]{1,100}$'),
  name          text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  email         text NOT NULL CHECK (length(email) BETWEEN 3 AND 320),
  role          text NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin')),
  credits_total bigint NOT NULL DEFAULT 0,
  created_at    timestamptz NOT NULL DEFAULT now(),
  updated_at    timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE public.users
  ADD COLUMN IF NOT EXISTS password_hash text,  -- argon2id; without one nobody signs in by password
  ADD COLUMN IF NOT EXISTS email_verified boolean NOT NULL DEFAULT false,
  ADD COLUMN IF NOT EXISTS image text;
CREATE UNIQUE INDEX IF NOT EXISTS users_email ON public.users (lower(email));
COMMENT ON TABLE public.users IS 'tailrace: accounts';

CREATE TABLE IF NOT EXISTS public.sessions (
  id         text PRIMARY KEY DEFAULT replace(gen_random_uuid()::text, '-', ''),
  user_id    text NOT NULL REFERENCES public.users ON DELETE CASCADE,
  -- SHA-256 of the token: whoever reads this table cannot sign in with it.
  token_hash bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
  expires_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  ip_address text,
  user_agent text
);
CREATE INDEX IF NOT EXISTS sessions_user ON public.sessions (user_id);
COMMENT ON TABLE public.sessions IS 'tailrace: sign-ins';

CREATE TABLE IF NOT EXISTS public.api_keys (
  id           text PRIMARY KEY DEFAULT replace(gen_random_uuid()::text, '-', ''),
  user_id      text NOT NULL REFERENCES public.users ON DELETE CASCADE,
  name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  start        text NOT NULL,  -- the key's first characters: enough to tell it from others
  key_hash     bytea NOT NULL UNIQUE CHECK (length(key_hash) = 32),
  scopes       text[] NOT NULL,
  channels     text[] NOT NULL DEFAULT '{}',
  rate_count   integer NOT NULL DEFAULT 1000 CHECK (rate_count > 0),
  rate_seconds integer NOT NULL DEFAULT 10 CHECK (rate_seconds > 0),
  expires_at   timestamptz,
  last_used_at timestamptz,
  created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS api_keys_user ON public.api_keys (user_id);
COMMENT ON TABLE public.api_keys IS 'tailrace: keys of servers';

CREATE TABLE IF NOT EXISTS public.notifications (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id    text NOT NULL REFERENCES public.users ON DELETE CASCADE,
  title      text NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
  body       text NOT NULL DEFAULT '' CHECK (length(body) <= 10000),
  read_at    timestamptz,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS notifications_unread
  ON public.notifications (user_id, id DESC) WHERE read_at IS NULL;
COMMENT ON TABLE public.notifications IS 'tailrace: what a user is told';
SELECT tailrace.watch('public.notifications', channel => 'user.{user_id}.notifications');

CREATE INDEX IF NOT EXISTS notifications_user ON public.notifications (user_id, id DESC);

CREATE TABLE IF NOT EXISTS public.posts (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  author_id  text NOT NULL REFERENCES public.users ON DELETE CASCADE,
  title      text NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
  content    text NOT NULL CHECK (length(content) BETWEEN 1 AND 50000),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS posts_author ON public.posts (author_id, id DESC);
COMMENT ON TABLE public.posts IS 'tailrace: posts';
SELECT tailrace.watch('public.posts', channel => 'posts');

CREATE TABLE IF NOT EXISTS public.contacts (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name          text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  email         text NOT NULL CHECK (length(email) BETWEEN 3 AND 320),
  message       text NOT NULL CHECK (length(message) BETWEEN 10 AND 10000),
  created_at    timestamptz NOT NULL DEFAULT now(),
  -- The hand-over by SMTP, if there is one: done, or when it is tried next.
  mailed_at     timestamptz,
  mail_attempts integer NOT NULL DEFAULT 0,
  mail_at       timestamptz NOT NULL DEFAULT now(),
  mail_error    text
);
CREATE INDEX IF NOT EXISTS contacts_to_mail ON public.contacts (mail_at) WHERE mailed_at IS NULL;
COMMENT ON TABLE public.contacts IS 'tailrace: the contact form';
-- On table.public.contacts, which admins may read.
SELECT tailrace.watch('public.contacts', columns => '{id,name,email,message,created_at}');

CREATE SEQUENCE IF NOT EXISTS public.webhook_deliveries_seq;

-- What providers have delivered: verified, and in here before they were answered. The row is also
-- the job. `seq`: the order of arrival. `body` is NULL once its retention is over; the row stays
-- longer, or a delivery that comes again would be taken for a new one.
CREATE TABLE IF NOT EXISTS public.webhook_deliveries (
  id          text PRIMARY KEY DEFAULT replace(gen_random_uuid()::text, '-', ''),
  seq         bigint NOT NULL UNIQUE DEFAULT nextval('public.webhook_deliveries_seq'),
  source      text COLLATE "C" NOT NULL,
  message_id  text COLLATE "C" NOT NULL,
  type        text NOT NULL,
  key         text,
  event_at    timestamptz,
  received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  headers     json NOT NULL,
  body        bytea,
  -- done: its effect is applied. unhandled: nothing is to be done with it. unmatched: it is about
  -- money, and nobody here is meant. dead: its handler failed too often. The last two wait for an
  -- operator.
  state       text NOT NULL DEFAULT 'pending'
              CHECK (state IN ('pending', 'done', 'unhandled', 'unmatched', 'dead')),
  attempts    integer NOT NULL DEFAULT 0,  -- since it was stored, or last asked for again
  due_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  error       text,  -- why it is not done
  history     json NOT NULL DEFAULT '[]',  -- its last attempts: [{"at", "state", "error", "ms"}]
  handled_at  timestamptz,  -- when it came to another state than pending
  waits_for   text COLLATE "C",  -- the payment that an unmatched refund is of
  UNIQUE (source, message_id)
);
-- Version 5 had less of it.
ALTER TABLE public.webhook_deliveries
  ADD COLUMN IF NOT EXISTS history json NOT NULL DEFAULT '[]',
  ADD COLUMN IF NOT EXISTS handled_at timestamptz,
  ADD COLUMN IF NOT EXISTS waits_for text COLLATE "C";
DO $$
BEGIN
  IF EXISTS (SELECT FROM tailrace.schema_version WHERE version = 5)
    AND NOT EXISTS (SELECT FROM tailrace.schema_version WHERE version >= 6) THEN
    DROP INDEX IF EXISTS public.webhook_deliveries_due;
    ALTER TABLE public.webhook_deliveries
      DROP CONSTRAINT IF EXISTS webhook_deliveries_state_check,
      ADD CONSTRAINT webhook_deliveries_state_check
        CHECK (state IN ('pending', 'done', 'unhandled', 'unmatched', 'dead'));
  END IF;
END $$;
-- By source: what a paused one has kept for hours must not be looked through for the others.
CREATE INDEX IF NOT EXISTS webhook_deliveries_due
  ON public.webhook_deliveries (source, due_at, seq) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS webhook_deliveries_key
  ON public.webhook_deliveries (source, key, seq) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS webhook_deliveries_trouble
  ON public.webhook_deliveries (state, seq) WHERE state IN ('dead', 'unmatched');
CREATE INDEX IF NOT EXISTS webhook_deliveries_waiting
  ON public.webhook_deliveries (source, waits_for)
  WHERE state = 'unmatched' AND waits_for IS NOT NULL;
CREATE INDEX IF NOT EXISTS webhook_deliveries_source
  ON public.webhook_deliveries (source, seq);
CREATE INDEX IF NOT EXISTS webhook_deliveries_age
  ON public.webhook_deliveries (received_at);
CREATE INDEX IF NOT EXISTS webhook_deliveries_payloads
  ON public.webhook_deliveries (received_at)
  WHERE state IN ('done', 'unhandled') AND body IS NOT NULL;
ALTER SEQUENCE public.webhook_deliveries_seq OWNED BY public.webhook_deliveries.seq;
COMMENT ON TABLE public.webhook_deliveries IS 'tailrace: webhooks as they were delivered';

-- What an admin has said of a source: a source of their own (`scheme`), or a pause of any. While
-- it is paused its deliveries are stored and wait.
CREATE TABLE IF NOT EXISTS public.webhook_sources (
  name       text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,49}$'),
  scheme     json,  -- how it signs; NULL: the source is built in
  channel    text,  -- where its events are published, whole
  paused_at  timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE public.webhook_sources IS 'tailrace: senders of webhooks';

-- Encrypted with a key made of TAILRACE_SECRET (server/webhooks/sources/sealing.py). Several, for a
-- rotation: each is good until it expires.
CREATE TABLE IF NOT EXISTS public.webhook_secrets (
  id         text PRIMARY KEY DEFAULT replace(gen_random_uuid()::text, '-', ''),
  source     text COLLATE "C" NOT NULL REFERENCES public.webhook_sources ON DELETE CASCADE,
  sealed     bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz
);
CREATE INDEX IF NOT EXISTS webhook_secrets_source ON public.webhook_secrets (source);
COMMENT ON TABLE public.webhook_secrets IS 'tailrace: secrets of senders, encrypted';

-- Each change of a source is an event on ops.webhooks; a change of its secrets touches its row.
CREATE OR REPLACE FUNCTION tailrace.tell_source() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  s public.webhook_sources;
BEGIN
  IF TG_OP = 'DELETE' THEN s := OLD; ELSE s := NEW; END IF;
  INSERT INTO tailrace.outbox (channel, type, key, data)
  VALUES ('ops.webhooks', 'webhook.source', s.name, json_build_object('name', s.name,
    'builtin', s.scheme IS NULL, 'paused', s.paused_at IS NOT NULL, 'channel', s.channel,
    'removed', TG_OP = 'DELETE'));
  IF tailrace.unheard() THEN PERFORM tailrace.wake(); END IF;
  RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION tailrace.tell_source() FROM PUBLIC;
CREATE OR REPLACE TRIGGER tailrace_tell AFTER INSERT OR UPDATE OR DELETE ON public.webhook_sources
  FOR EACH ROW EXECUTE FUNCTION tailrace.tell_source();

-- What webhooks have done. A payment counts once per (source, id), whatever tells of it; `taken`
-- of its credits are taken back by refunds and disputes. No foreign keys: books outlive accounts.
CREATE TABLE IF NOT EXISTS public.payments (
  source     text COLLATE "C" NOT NULL,
  id         text COLLATE "C" NOT NULL,
  user_id    text NOT NULL,
  credits    bigint NOT NULL CHECK (credits > 0),
  amount     bigint,  -- in the currency's smallest unit
  taken      bigint NOT NULL DEFAULT 0 CHECK (taken BETWEEN 0 AND credits),
  delivery   text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (source, id)
);
CREATE INDEX IF NOT EXISTS payments_user ON public.payments (user_id);
COMMENT ON TABLE public.payments IS 'tailrace: payments that gave credits';

-- They may come before their payment. `amount`: how much of it; NULL: all.
CREATE TABLE IF NOT EXISTS public.refunds (
  source     text COLLATE "C" NOT NULL,
  id         text COLLATE "C" NOT NULL,
  payment    text COLLATE "C" NOT NULL,
  dispute    boolean NOT NULL,
  held       boolean NOT NULL,
  amount     bigint,
  event_at   timestamptz NOT NULL,
  delivery   text NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (source, id)
);
CREATE INDEX IF NOT EXISTS refunds_payment ON public.refunds (source, payment);
COMMENT ON TABLE public.refunds IS 'tailrace: refunds and disputes';

-- As of `event_at`: what is older never overwrites it.
CREATE TABLE IF NOT EXISTS public.subscriptions (
  source        text COLLATE "C" NOT NULL,
  id            text COLLATE "C" NOT NULL,
  customer      text,
  user_id       text,
  status        text NOT NULL,  -- the provider's own word
  product       text,
  period_end    timestamptz,
  cancel_at_end boolean NOT NULL,
  event_at      timestamptz NOT NULL,
  delivery      text NOT NULL,
  created_at    timestamptz NOT NULL DEFAULT now(),
  updated_at    timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (source, id)
);
CREATE INDEX IF NOT EXISTS subscriptions_user ON public.subscriptions (user_id);
COMMENT ON TABLE public.subscriptions IS 'tailrace: subscriptions as their providers tell them';

-- The sources that are not paused and have something pending: whether some of it is due, and the
-- seconds until more is.
CREATE OR REPLACE FUNCTION tailrace.webhooks_due()
RETURNS TABLE (source text, ready boolean, wait double precision)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
-- As for take_webhook().
SET enable_seqscan = off SET enable_sort = off SET enable_bitmapscan = off AS $$
  WITH RECURSIVE found AS (
    (SELECT d.source FROM public.webhook_deliveries d WHERE d.state = 'pending'
     ORDER BY d.source LIMIT 1)
    UNION ALL
    SELECT (SELECT d.source FROM public.webhook_deliveries d
      WHERE d.state = 'pending' AND d.source > f.source ORDER BY d.source LIMIT 1)
    FROM found f WHERE f.source IS NOT NULL
  )
  SELECT f.source,
    coalesce((SELECT d.due_at FROM public.webhook_deliveries d WHERE d.source = f.source
      AND d.state = 'pending' ORDER BY d.due_at LIMIT 1) <= statement_timestamp(), false),
    (SELECT extract(epoch FROM d.due_at - statement_timestamp())::float8
     FROM public.webhook_deliveries d WHERE d.source = f.source AND d.state = 'pending'
       AND d.due_at > statement_timestamp() ORDER BY d.due_at LIMIT 1)
  FROM found f
  WHERE f.source IS NOT NULL AND NOT EXISTS (SELECT FROM public.webhook_sources s
    WHERE s.name = f.source AND s.paused_at IS NOT NULL)
$$;
REVOKE EXECUTE ON FUNCTION tailrace.webhooks_due() FROM PUBLIC;
-- Lock the delivery of a source that is due first, if any: the next with the key `following`, else
-- any. Of the deliveries with one key only the oldest pending one is ever taken. The rest of the
-- transaction is its handler's.
CREATE OR REPLACE FUNCTION tailrace.take_webhook(wanted text, following text DEFAULT NULL)
RETURNS SETOF public.webhook_deliveries
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
-- Along the indexes, from the first on, whatever the statistics say: it stops at the first that is
-- free, and what waits behind a key is not to be sorted each time. Mostly they say that nothing is
-- pending, and then any index of what is pending seems as good as another.
SET enable_seqscan = off SET enable_sort = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  -- A setting of the operator's must not end this, nor may a lock hold it up for ever; and the
  -- caller wakes the stamper itself, after the commit.
  PERFORM set_config('idle_in_transaction_session_timeout', '60s', true),
    set_config('lock_timeout', '5s', true), set_config('tailrace.poke', 'off', true);
  IF EXISTS (SELECT FROM public.webhook_sources s
      WHERE s.name = wanted COLLATE "C" AND s.paused_at IS NOT NULL) THEN
    RETURN;
  END IF;
  IF following IS NOT NULL THEN
    RETURN QUERY
    SELECT d.* FROM public.webhook_deliveries d
    -- Not as those indexes have it: by its id.
    WHERE d.state || '' = 'pending' AND d.due_at <= statement_timestamp()
      AND d.id = (SELECT e.id FROM public.webhook_deliveries e
        WHERE e.source = wanted COLLATE "C" AND e.key = following AND e.state = 'pending'
        ORDER BY e.seq LIMIT 1)
    FOR UPDATE OF d SKIP LOCKED;
    IF FOUND THEN RETURN; END IF;
  END IF;
  RETURN QUERY
  SELECT d.* FROM public.webhook_deliveries d
  WHERE d.source = wanted COLLATE "C" AND d.state = 'pending'
    AND d.due_at <= statement_timestamp()
    -- Not as a join, which would look through the source for each.
    AND (d.key IS NULL OR d.seq = (SELECT e.seq FROM public.webhook_deliveries e
      WHERE e.source = d.source AND e.key = d.key AND e.state = 'pending' ORDER BY e.seq LIMIT 1))
  ORDER BY d.due_at, d.seq LIMIT 1 FOR UPDATE OF d SKIP LOCKED;
END
$$;
REVOKE EXECUTE ON FUNCTION tailrace.take_webhook(text, text) FROM PUBLIC;

-- What handlers do (server/webhooks/handling/effects.py), each in one call: a round trip within the
-- transaction of a delivery is the dearest part of it.

CREATE OR REPLACE FUNCTION tailrace.notify_user(who text, title text, body text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO public.notifications (user_id, title, body)
  SELECT u.id, notify_user.title, notify_user.body FROM public.users u WHERE u.id = who
$$;
REVOKE EXECUTE ON FUNCTION tailrace.notify_user(text, text, text) FROM PUBLIC;

-- A payment and its refund may be handled at the same moment, each blind to the other's row: one
-- has to wait for the other before it looks.
CREATE OR REPLACE FUNCTION tailrace.lock_payment(source text, payment text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  SELECT pg_advisory_xact_lock(hashtextextended(source || '/' || payment, 7245722305))
$$;
REVOKE EXECUTE ON FUNCTION tailrace.lock_payment(text, text) FROM PUBLIC;

-- Bring a payment's credits to what its refunds and disputes leave: in proportion to the part of
-- the sum that they hold, of an unknown sum all. Whether the payment is there.
CREATE OR REPLACE FUNCTION tailrace.settle_payment(in_source text, payment text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  paid   public.payments;
  wanted bigint;
  more   bigint;
BEGIN
  SELECT p.* INTO paid FROM public.payments p
  WHERE p.source = in_source COLLATE "C" AND p.id = payment COLLATE "C" FOR UPDATE;
  IF NOT FOUND THEN RETURN false; END IF;
  SELECT CASE
      WHEN count(*) = 0 THEN 0
      WHEN bool_or(r.amount IS NULL) OR coalesce(paid.amount, 0) = 0 THEN paid.credits
      ELSE least(paid.credits, round(paid.credits * sum(r.amount) / paid.amount)) END
  INTO wanted FROM public.refunds r
  WHERE r.source = in_source COLLATE "C" AND r.payment = settle_payment.payment COLLATE "C"
    AND r.held;
  more := wanted - paid.taken;
  IF more <> 0 THEN
    UPDATE public.payments p SET taken = wanted WHERE p.source = paid.source AND p.id = paid.id;
    UPDATE public.users u SET credits_total = u.credits_total - more, updated_at = now()
    WHERE u.id = paid.user_id;
    PERFORM tailrace.notify_user(paid.user_id,
      CASE WHEN more > 0 THEN 'Payment taken back' ELSE 'Payment restored' END,
      format('Credits %s: %s.', CASE WHEN more > 0 THEN 'removed' ELSE 'added' END, abs(more)));
  END IF;
  RETURN true;
END
$$;
REVOKE EXECUTE ON FUNCTION tailrace.settle_payment(text, text) FROM PUBLIC;

-- Add a payment's credits to its user, once. `given`, `repeated` or `nobody`.
CREATE OR REPLACE FUNCTION tailrace.give_credits(
  in_source text, payment text, who text, number bigint, sum bigint, by_delivery text
) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tailrace.lock_payment(in_source, payment);
  IF EXISTS (SELECT FROM public.payments p
      WHERE p.source = in_source COLLATE "C" AND p.id = payment COLLATE "C") THEN
    RETURN 'repeated';
  END IF;
  UPDATE public.users u SET credits_total = u.credits_total + number, updated_at = now()
  WHERE u.id = who;
  IF NOT FOUND THEN RETURN 'nobody'; END IF;
  INSERT INTO public.payments (source, id, user_id, credits, amount, delivery)
  VALUES (in_source, payment, who, number, sum, by_delivery);
  PERFORM tailrace.notify_user(who, 'Payment received', format('Credits added: %s.', number));
  -- Refunds that came before their payment are done now. Each has written down what it waits for
  -- before it let go of the payment's lock; a worker that still has its row is waited for.
  PERFORM tailrace.settle_payment(in_source, payment);
  UPDATE public.webhook_deliveries d
  SET state = 'done', error = NULL, waits_for = NULL, handled_at = clock_timestamp()
  WHERE d.source = in_source COLLATE "C" AND d.waits_for = payment COLLATE "C"
    AND d.state = 'unmatched';
  RETURN 'given';
END
$$;
REVOKE EXECUTE ON FUNCTION tailrace.give_credits(text, text, text, bigint, bigint, text) FROM PUBLIC;

-- Take back what a refund or dispute holds of a payment. Whether the payment is there. Events of
-- one moment, as providers count in seconds, may come in either order: the one that holds more
-- stays, but a dispute that is over stays over.
CREATE OR REPLACE FUNCTION tailrace.take_back(
  in_source text, refund text, of_payment text, is_dispute boolean, is_held boolean, sum bigint,
  at timestamptz, by_delivery text
) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tailrace.lock_payment(in_source, of_payment);
  INSERT INTO public.refunds AS r
    (source, id, payment, dispute, held, amount, event_at, delivery)
  VALUES (in_source, refund, of_payment, is_dispute, is_held, sum, at, by_delivery)
  ON CONFLICT (source, id) DO UPDATE SET held = excluded.held, amount = excluded.amount,
    event_at = excluded.event_at, delivery = excluded.delivery, updated_at = now()
  WHERE excluded.event_at > r.event_at OR excluded.event_at = r.event_at AND CASE
    WHEN r.held <> excluded.held THEN excluded.held <> r.dispute
    ELSE NOT r.held OR coalesce(excluded.amount >= r.amount, excluded.amount IS NULL) END;
  RETURN tailrace.settle_payment(in_source, of_payment);
END
$$;
REVOKE EXECUTE ON FUNCTION
  tailrace.take_back(text, text, text, boolean, boolean, bigint, timestamptz, text) FROM PUBLIC;

-- Keep a subscription as it stands at the event's time, unless a newer event told of it. Of events
-- of one moment, as providers count in seconds and send in no order, what has ended stays so, and
-- what begins (Stripe's and Dodo's word for it) comes before all else.
CREATE OR REPLACE FUNCTION tailrace.keep_subscription(
  in_source text, subscription text, customer text, who text, status text, product text,
  period_end timestamptz, cancel_at_end boolean, at timestamptz, by_delivery text, ended text[]
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  former text;
  owner  text;
BEGIN
  SELECT s.status INTO former FROM public.subscriptions s
  WHERE s.source = in_source COLLATE "C" AND s.id = subscription COLLATE "C" FOR UPDATE;
  INSERT INTO public.subscriptions AS s (source, id, customer, user_id, status, product,
    period_end, cancel_at_end, event_at, delivery)
  VALUES (in_source, subscription, keep_subscription.customer,
    (SELECT u.id FROM public.users u WHERE u.id = who), keep_subscription.status,
    keep_subscription.product, keep_subscription.period_end, keep_subscription.cancel_at_end, at,
    by_delivery)
  ON CONFLICT (source, id) DO UPDATE SET customer = coalesce(excluded.customer, s.customer),
    user_id = coalesce(excluded.user_id, s.user_id), status = excluded.status,
    product = coalesce(excluded.product, s.product),
    period_end = coalesce(excluded.period_end, s.period_end),
    cancel_at_end = excluded.cancel_at_end, event_at = excluded.event_at,
    delivery = excluded.delivery, updated_at = now()
  WHERE excluded.event_at > s.event_at
    OR excluded.event_at = s.event_at AND NOT s.status = ANY (ended)
      AND (excluded.status = s.status OR excluded.status NOT IN ('incomplete', 'pending'))
  RETURNING s.user_id INTO owner;
  IF owner IS NOT NULL AND former IS DISTINCT FROM keep_subscription.status THEN
    PERFORM tailrace.notify_user(owner, left('Subscription ' || keep_subscription.status, 200),
      format('%s is now %s.', coalesce(keep_subscription.product, subscription),
        keep_subscription.status));
  END IF;
END
$$;
REVOKE EXECUTE ON FUNCTION tailrace.keep_subscription(text, text, text, text, text, text,
  timestamptz, boolean, timestamptz, text, text[]) FROM PUBLIC;

SELECT tailrace.watch('public.payments');
SELECT tailrace.watch('public.subscriptions');

-- Store what is new of a batch, in one transaction. The answer has each that is in the table now:
-- its id, and whether it came just now (these come first). One is missing only if it was removed
-- meanwhile. No (source, message_id) may stand there twice.
CREATE OR REPLACE FUNCTION tailrace.store_deliveries(
  sources text[], message_ids text[], types text[], keys text[], times timestamptz[],
  headers text[], bodies bytea[]
) RETURNS TABLE (n bigint, id text, fresh boolean)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
-- One that another transaction holds must not hold up everybody who shares this one.
SET lock_timeout = '2s'
-- By the index whatever the statistics say: a plan made for the empty table reads all of it.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
-- One plan for all sizes of a batch: planning costs more than a few rows do.
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  -- The caller wakes the stamper itself, after the commit.
  PERFORM set_config('tailrace.poke', 'off', true);
  -- Who is there already is not even tried: ON CONFLICT waits for whoever changes that row now,
  -- for example for its handler. It is for those that two transactions bring at the same moment.
  RETURN QUERY
  WITH item AS MATERIALIZED (
    SELECT t.n, t.source COLLATE "C" AS source, t.message_id COLLATE "C" AS message_id
    FROM unnest(sources, message_ids) WITH ORDINALITY AS t (source, message_id, n)
    WHERE NOT EXISTS (SELECT FROM public.webhook_deliveries d
      WHERE d.source = t.source COLLATE "C" AND d.message_id = t.message_id COLLATE "C")
    ORDER BY t.n
  ), numbered AS MATERIALIZED (
    -- `seq` is the order in which they came …
    SELECT nextval('public.webhook_deliveries_seq') AS seq, item.* FROM item
  ), stored AS (
    INSERT INTO public.webhook_deliveries AS w
      (seq, source, message_id, type, key, event_at, headers, body)
    SELECT i.seq, i.source, i.message_id, types[i.n], keys[i.n], times[i.n],
      store_deliveries.headers[i.n]::json, bodies[i.n]
    -- … but two processes that store the same ones have to wait for each other in one order.
    FROM numbered i ORDER BY i.source, i.message_id
    ON CONFLICT (source, message_id) DO NOTHING
    RETURNING w.id, w.seq
  )
  SELECT i.n, s.id, true FROM stored s JOIN numbered i USING (seq);
  -- A snapshot of its own: the first is older than the transactions that it has waited for.
  RETURN QUERY
  SELECT t.n, d.id, false
  FROM unnest(sources, message_ids) WITH ORDINALITY AS t (source, message_id, n)
    JOIN public.webhook_deliveries d
      ON d.source = t.source COLLATE "C" AND d.message_id = t.message_id COLLATE "C";
END
$$;
REVOKE EXECUTE ON FUNCTION tailrace.store_deliveries FROM PUBLIC;

-- Each state of a delivery is an event on ops.webhooks, without headers and body. One statement
-- for a whole batch; `tailrace.watch()` is not for channels under ops.
CREATE OR REPLACE FUNCTION tailrace.told_delivery(d public.webhook_deliveries) RETURNS json
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT json_build_object('id', d.id, 'source', d.source, 'message_id', d.message_id,
    'type', d.type, 'key', d.key, 'state', d.state, 'attempts', d.attempts, 'error', left(d.error, 1000),
    'event_at', d.event_at, 'received_at', d.received_at, 'due_at', d.due_at)
$$;
CREATE OR REPLACE FUNCTION tailrace.tell_deliveries() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO tailrace.outbox (channel, type, key, data)
    SELECT 'ops.webhooks', 'webhook.received', n.id, tailrace.told_delivery(n)
    FROM changed n ORDER BY n.seq;
  ELSE
    INSERT INTO tailrace.outbox (channel, type, key, data)
    SELECT 'ops.webhooks', 'webhook.' || n.state, n.id, tailrace.told_delivery(n)
    FROM changed n JOIN former o USING (id)
    WHERE (n.state, n.attempts, n.due_at) IS DISTINCT FROM (o.state, o.attempts, o.due_at)
    ORDER BY n.seq;
  END IF;
  IF FOUND AND tailrace.unheard() THEN PERFORM tailrace.wake(); END IF;
  RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION tailrace.tell_deliveries() FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION tailrace.told_delivery(public.webhook_deliveries) FROM PUBLIC;
CREATE OR REPLACE TRIGGER tailrace_tell_new AFTER INSERT ON public.webhook_deliveries
  REFERENCING NEW TABLE AS changed FOR EACH STATEMENT
  EXECUTE FUNCTION tailrace.tell_deliveries();
CREATE OR REPLACE TRIGGER tailrace_tell_changed AFTER UPDATE ON public.webhook_deliveries
  REFERENCING OLD TABLE AS former NEW TABLE AS changed FOR EACH STATEMENT
  EXECUTE FUNCTION tailrace.tell_deliveries();

-- Files. `id` is also their key in the spool and in the store. One that is `receiving` comes in
-- pieces (tus), reserves its `size`, and is on the disk of `host`; all others are whole. `owner`:
-- `user:…` or, without a `user_id`, the API key that sent it.
CREATE TABLE IF NOT EXISTS public.uploads (
  id         text PRIMARY KEY CHECK (id ~ '^[a-z0-9]{32}$'),
  owner      text COLLATE "C" NOT NULL,
  user_id    text REFERENCES public.users ON DELETE CASCADE,
  policy     text NOT NULL,
  visibility text NOT NULL CHECK (visibility IN ('public', 'private')),
  state      text NOT NULL CHECK (state IN ('receiving', 'ready')),
  name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  type       text NOT NULL,  -- what the bytes are; while they come in, what is declared
  size       bigint NOT NULL CHECK (size >= 0),
  sha256     text,
  width      integer,
  height     integer,
  host       text,
  metadata   text,  -- as the tus client gave it, for its HEAD
  created_at timestamptz NOT NULL DEFAULT now(),
  ready_at   timestamptz,
  expires_at timestamptz
);
CREATE INDEX IF NOT EXISTS uploads_owner ON public.uploads (owner, created_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS uploads_user ON public.uploads (user_id);
CREATE INDEX IF NOT EXISTS uploads_all ON public.uploads (created_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS uploads_expiring ON public.uploads (expires_at)
  WHERE expires_at IS NOT NULL;
COMMENT ON TABLE public.uploads IS 'tailrace: files';
SELECT tailrace.watch('public.uploads', channel => 'user.{user_id}.uploads', columns =>
  '{id,user_id,policy,visibility,state,name,type,size,sha256,width,height,created_at,ready_at,expires_at}');

INSERT INTO tailrace.schema_version (version) VALUES (6) ON CONFLICT DO NOTHING;
