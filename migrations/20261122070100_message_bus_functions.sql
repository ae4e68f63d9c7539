-- bus: the functions that write and read messages: the Store contract, over RPC.
--
-- The wire, which works on PostgREST and on what is compatible with it:
--   * One text argument, `request`, holds a JSON object; stored bytes come beside it as base64 in `body`.
--   * The answer is a text that holds a JSON object. `outcome` says what came of the call; times are milliseconds
--     since 1970, UTC. Only bus_chunk answers with raw bytes.
--   * What the contract foresees is an outcome. What it does not is an error: PT400, PT403, PT409 ... with a word as
--     its message and a sentence as its detail.
--
-- All of them run as their owner and act for one principal: the `sub` of the token of a user, whatever the request
-- says; for the service role, whom the request names. Three rules keep that safe:
--   * search_path is pinned, and pg_temp stands last in it. Where it is not named it comes first, and a temporary type
--     called `json` or `uuid` would run its maker's code as the owner.
--   * Whoever asks is judged, and the request is read, before a row is looked at. In a WHERE clause either could fail
--     for rows that exist only, which would tell that they do.
--   * A row of somebody else answers exactly as one that does not exist.

-- Time -----------------------------------------------------------------------------------------------------------

create or replace function bus_internal.instant() returns timestamptz
language sql volatile set search_path = pg_catalog, pg_temp as $$
  select date_trunc('milliseconds', clock_timestamp())
$$;

create or replace function bus_internal.to_ms(t timestamptz) returns bigint
language sql immutable strict set search_path = pg_catalog, pg_temp as $$
  select (extract(epoch from t) * 1000)::bigint
$$;

-- Cut to the years 1 to 9999.
create or replace function bus_internal.from_ms(ms bigint) returns timestamptz
language sql immutable strict set search_path = pg_catalog, pg_temp as $$
  select timestamptz '1970-01-01 00:00:00+00'
    + least(greatest(ms, -62135596800000), 253402300799999) * interval '1 millisecond'
$$;

create or replace function bus_internal.after_ms(t timestamptz, ms bigint) returns timestamptz
language sql immutable strict set search_path = pg_catalog, pg_temp as $$
  select bus_internal.from_ms(bus_internal.to_ms(t) + least(ms, 253402300799999))
$$;

-- How long after expiry a read that began before it may finish.
create or replace function bus_internal.read_grace_ms() returns bigint
language sql immutable set search_path = pg_catalog, pg_temp as $$ select 600000::bigint $$;

-- Identity -------------------------------------------------------------------------------------------------------

-- Whose rows the caller may touch; null means everybody's.
create or replace function bus_internal.scope() returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  -- Inside a function that runs as its owner, current_user is the owner; the role that was set is still the caller's.
  caller text := coalesce(nullif(current_setting('role', true), 'none'), session_user);
  subject text;
begin
  if exists (select from pg_catalog.pg_roles r
             where r.rolname = caller and (r.rolsuper or r.rolbypassrls)) then
    return null;
  end if;
  subject := nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub';
  -- Nothing for anon, even where somebody granted it these functions and its token has a sub.
  if caller = 'anon' or subject is null or subject !~ '^[!-~]{1,128}$' then
    raise sqlstate 'PT403' using
      message = 'denied',
      detail = 'the token names no user: a JWT with a sub of 1 to 128 visible ASCII characters, or the service key, is expected';
  end if;
  return subject;
end $$;

-- The principal that a request is about.
create or replace function bus_internal.principal(named text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(bus_internal.scope(), nullif(named, ''), 'default')
$$;

-- UUIDs of version 7: ids that sort by the time that they were made at.
create or replace function bus_internal.uuid_v7(at timestamptz) returns uuid
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  bytes bytea := pg_catalog.uuid_send(gen_random_uuid());
begin
  bytes := overlay(bytes placing substring(pg_catalog.int8send(bus_internal.to_ms(at)) from 3) from 1 for 6);
  bytes := set_byte(bytes, 6, (get_byte(bytes, 6) & 15) | 112);
  return encode(bytes, 'hex')::uuid;
end $$;

-- Records --------------------------------------------------------------------------------------------------------

-- The status that a reader is told.
create or replace function bus_internal.status_at(m public.message_bus, at timestamptz) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select case when m.status = 'complete' and m.expires_at <= at then 'expired' else m.status end
$$;

-- A record as it travels. Metadata goes as a text inside, so that nothing on the way changes it.
--
-- A row that is handed to a function is made whole first, which reads its payload: callers set `payload` to null before.
create or replace function bus_internal.record(m public.message_bus, at timestamptz) returns json
language sql stable set search_path = pg_catalog, pg_temp as $$
  select json_build_object(
    'id', m.id,
    'transaction_id', m.transaction_id,
    'session_id', m.session_id,
    'tool_name', m.tool_name,
    'provider_name', m.provider_name,
    'payload_size_bytes', m.payload_size_bytes,
    'compression_type', m.compression_type,
    'compressed_size_bytes', m.compressed_size_bytes,
    'checksum', m.checksum,
    'status', bus_internal.status_at(m, at),
    'error_message', m.error_message,
    'created_ms', bus_internal.to_ms(m.created_at),
    'accessed_ms', bus_internal.to_ms(m.accessed_at),
    'expires_ms', bus_internal.to_ms(m.expires_at),
    'metadata', m.metadata::text,
    'format_version', m.format_version,
    'content_type', m.content_type,
    'priority', m.priority,
    'principal', m.principal,
    'chunk_count', m.chunk_count,
    'chunk_size_bytes', m.chunk_size_bytes,
    'encoded_sha256', m.encoded_sha256,
    'manifest_sha256', m.manifest_sha256,
    'acknowledged_ms', bus_internal.to_ms(m.acknowledged_at),
    'lease_expires_ms', bus_internal.to_ms(m.lease_expires_at),
    'encryption', m.encryption,
    'key_id', m.key_id)
$$;

-- The row that `request` asks for, pending from `at`.
create or replace function bus_internal.pending_row(request json, owner text, at timestamptz)
returns public.message_bus
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  m public.message_bus;
begin
  m.id := bus_internal.uuid_v7(at);
  m.principal := owner;
  m.transaction_id := request ->> 'transaction_id';
  m.session_id := request ->> 'session_id';
  m.tool_name := request ->> 'tool_name';
  m.provider_name := request ->> 'provider_name';
  m.content_type := request ->> 'content_type';
  m.priority := request ->> 'priority';
  m.metadata := (request ->> 'metadata')::json;
  m.format_version := (request ->> 'format_version')::integer;
  m.compression_type := request ->> 'compression_type';
  m.chunk_size_bytes := (request ->> 'chunk_size_bytes')::bigint;
  m.expected_sha256 := request ->> 'expected_sha256';
  m.expected_size_bytes := (request ->> 'expected_size_bytes')::bigint;
  m.upload_token := (request ->> 'upload_token')::uuid;
  m.lease_ms := (request ->> 'lease_ms')::bigint;
  m.ttl_ms := (request ->> 'ttl_ms')::bigint;
  m.status := 'pending';
  m.payload_size_bytes := 0;
  m.chunk_count := 0;
  m.created_at := at;
  m.accessed_at := at;
  m.expires_at := bus_internal.after_ms(at, m.ttl_ms);
  m.lease_expires_at := bus_internal.after_ms(at, m.lease_ms);
  return m;
end $$;

-- Whether a writer that asks for `wanted` may go on where the writer of `held` stopped.
create or replace function bus_internal.same_plan(held public.message_bus, wanted public.message_bus)
returns boolean
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select held.compression_type = wanted.compression_type
    and held.chunk_size_bytes = wanted.chunk_size_bytes
    and held.expected_sha256 is not distinct from wanted.expected_sha256
$$;

-- The chunks of an upload, as a resuming writer is told.
create or replace function bus_internal.durable_chunks(message uuid) returns json
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(
    json_agg(json_build_array(c.seq, c.stored_bytes, c.sha256) order by c.seq), '[]'::json)
  from public.message_bus_chunks c where c.message_id = message
$$;

create or replace function bus_internal.outcome(word text, detail text default null) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select json_build_object('outcome', word, 'detail', detail)::text
$$;

-- Manifests ------------------------------------------------------------------------------------------------------

-- The unsigned number in `len` big-endian bytes, from byte `at` (0 is the first).
create or replace function bus_internal.number_at(bytes bytea, at integer, len integer) returns bigint
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select ('x' || lpad(encode(substring(bytes from at + 1 for len), 'hex'), 16, '0'))::bit(64)::bigint
$$;

-- The parts of a binary manifest (its table is in the docs of bus-model), and what is wrong with it.
create or replace function bus_internal.read_manifest(
  bytes bytea,
  out fault text, out encoding text, out chunk_size bigint, out payload_size bigint,
  out payload_sha256 text, out encoded_sha256 text, out chunks integer, out stored bigint)
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  wanted bigint;
begin
  if bytes is null or octet_length(bytes) < 92 or substring(bytes from 1 for 4) <> '\x4255534d'::bytea then
    fault := 'these bytes are not a manifest';
    return;
  end if;
  if bus_internal.number_at(bytes, 4, 2) <> 1 then
    fault := format('the manifest has format version %s, this schema knows 1', bus_internal.number_at(bytes, 4, 2));
    return;
  end if;
  encoding := case get_byte(bytes, 6) when 0 then 'none' when 1 then 'gzip' when 2 then 'zstd' end;
  chunk_size := bus_internal.number_at(bytes, 8, 8);
  payload_size := bus_internal.number_at(bytes, 16, 8);
  payload_sha256 := encode(substring(bytes from 25 for 32), 'hex');
  encoded_sha256 := encode(substring(bytes from 57 for 32), 'hex');
  wanted := bus_internal.number_at(bytes, 88, 4);
  if encoding is null or chunk_size <= 0 or payload_size < 0 or wanted > 2147483647
    or octet_length(bytes) <> 92 + 40 * wanted
    or wanted <> greatest(1, payload_size / chunk_size + (payload_size % chunk_size > 0)::integer) then
    fault := 'the manifest contradicts itself';
    return;
  end if;
  chunks := wanted::integer;
  stored := (select sum(bus_internal.number_at(bytes, 92 + 40 * s, 8)) from generate_series(0, chunks - 1) s);
end $$;

-- What of `manifest` contradicts the plan of `m`; null where nothing does.
create or replace function bus_internal.plan_fault(m public.message_bus, manifest bytea) returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  parts record := bus_internal.read_manifest(manifest);
begin
  return case
    when parts.fault is not null then parts.fault
    when parts.encoding <> m.compression_type or parts.chunk_size <> m.chunk_size_bytes then
      format('the manifest has %s chunks of %s bytes, the plan %s ones of %s',
        parts.encoding, parts.chunk_size, m.compression_type, m.chunk_size_bytes)
    when parts.payload_size <> m.expected_size_bytes then
      format('the payload has %s bytes, not the %s that were planned', parts.payload_size, m.expected_size_bytes)
    when parts.payload_sha256 <> m.expected_sha256 then
      format('the payload has the digest %s, not the one that was planned', parts.payload_sha256)
  end;
end $$;

-- `m` as it is once it is complete.
create or replace function bus_internal.completed(m public.message_bus, manifest bytea, at timestamptz)
returns public.message_bus
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  parts record := bus_internal.read_manifest(manifest);
begin
  m.status := 'complete';
  m.payload_size_bytes := parts.payload_size;
  m.compressed_size_bytes := parts.stored;
  m.checksum := parts.payload_sha256;
  m.chunk_count := parts.chunks;
  m.encoded_sha256 := parts.encoded_sha256;
  m.manifest := manifest;
  m.manifest_sha256 := encode(sha256(manifest), 'hex');
  m.lease_expires_at := null;
  m.expires_at := bus_internal.after_ms(at, m.ttl_ms);
  return m;
end $$;

-- Writing --------------------------------------------------------------------------------------------------------

-- Begins an upload. Asked again with the same upload_token, it answers the same again.
--   new {id} | resume {id, chunks: [[seq, stored_bytes, sha256] ...]} | busy {retry_after_ms} | complete {record} | conflict
create or replace function public.bus_begin(request text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  r json := request::json;
  wanted public.message_bus;
  held public.message_bus;
  at timestamptz;
  chunks json;
begin
  wanted := bus_internal.pending_row(r, bus_internal.principal(r ->> 'principal'), bus_internal.instant());
  loop
    insert into public.message_bus select wanted.* on conflict (principal, transaction_id) do nothing;
    if found then
      return json_build_object('outcome', 'new', 'id', wanted.id, 'principal', wanted.principal)::text;
    end if;
    select * into held from public.message_bus m
      where m.principal = wanted.principal and m.transaction_id = wanted.transaction_id
      for update;
    continue when not found;
    held.payload := null;
    at := bus_internal.instant();
    if bus_internal.status_at(held, at) = 'complete' then
      if held.checksum <> wanted.expected_sha256 then
        return bus_internal.outcome('conflict');
      end if;
      return json_build_object('outcome', 'complete', 'record', bus_internal.record(held, at))::text;
    end if;
    if held.status = 'pending' then
      chunks := bus_internal.durable_chunks(held.id);
      if held.upload_token = wanted.upload_token then
        return json_build_object(
          'outcome', case when json_array_length(chunks) = 0 then 'new' else 'resume' end,
          'id', held.id, 'principal', held.principal, 'chunks', chunks)::text;
      end if;
      if held.lease_expires_at > at then
        return json_build_object('outcome', 'busy',
          'retry_after_ms', bus_internal.to_ms(held.lease_expires_at) - bus_internal.to_ms(at))::text;
      end if;
      if bus_internal.same_plan(held, wanted) then
        perform bus_internal.hand_over(held, wanted, at);
        return json_build_object(
          'outcome', 'resume', 'id', held.id, 'principal', held.principal, 'chunks', chunks)::text;
      end if;
    end if;
    -- Expired, given up, or an upload with another plan whose writer is gone.
    delete from public.message_bus m where m.id = held.id;
  end loop;
end $$;

-- Hands an upload to another writer: its id, creation time and chunks stay, all else is the new writer's.
create or replace function bus_internal.hand_over(
  held public.message_bus, wanted public.message_bus, at timestamptz) returns void
language sql volatile set search_path = pg_catalog, pg_temp as $$
  update public.message_bus m set
    session_id = wanted.session_id, tool_name = wanted.tool_name, provider_name = wanted.provider_name,
    content_type = wanted.content_type, priority = wanted.priority, metadata = wanted.metadata,
    format_version = wanted.format_version, expected_size_bytes = wanted.expected_size_bytes,
    upload_token = wanted.upload_token, lease_ms = wanted.lease_ms, ttl_ms = wanted.ttl_ms,
    accessed_at = m.created_at,
    expires_at = bus_internal.after_ms(at, wanted.ttl_ms),
    lease_expires_at = bus_internal.after_ms(at, wanted.lease_ms)
  where m.id = held.id
$$;

-- What both ways to store a chunk do.
create or replace function bus_internal.put_chunk(request json, bytes bytea) returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  owner text := bus_internal.principal(request ->> 'principal');
  message uuid := (request ->> 'id')::uuid;
  token uuid := (request ->> 'upload_token')::uuid;
  place integer := (request ->> 'seq')::integer;
  digest text := encode(sha256(bytes), 'hex');
begin
  if digest is null or digest is distinct from request ->> 'sha256' then
    return bus_internal.outcome('mismatch',
      format('chunk %s arrived with the digest %s, not the one that was declared', place, digest));
  end if;
  if place is null or place < 0 then
    raise sqlstate 'PT400' using message = 'invalid', detail = 'seq is missing or below 0';
  end if;
  if octet_length(bytes) > 4194304 then
    return bus_internal.outcome('too_large',
      format('chunk %s has %s stored bytes, this schema takes 4194304', place, octet_length(bytes)));
  end if;
  -- Keeps the message from being deleted under the chunk, and lets other chunks of it go on.
  perform from public.message_bus m
    where m.id = message and m.principal = owner and m.upload_token = token and m.status = 'pending'
    for key share;
  if not found then
    return bus_internal.outcome('lease_lost');
  end if;
  insert into public.message_bus_chunks as c (message_id, seq, stored_bytes, sha256, body)
    values (message, place, octet_length(bytes), digest, bytes)
    on conflict (message_id, seq) do update
      set stored_bytes = excluded.stored_bytes, sha256 = excluded.sha256, body = excluded.body
      where c.sha256 <> excluded.sha256;
  -- Last, so that the row is locked for as short as can be. Whoever took over meanwhile keeps the upload, and the
  -- error takes the chunk back.
  update public.message_bus m
    set lease_expires_at = bus_internal.after_ms(bus_internal.instant(), m.lease_ms)
    where m.id = message and m.upload_token = token and m.status = 'pending';
  if not found then
    raise sqlstate 'PT409' using message = 'lease_lost', detail = 'another writer took over';
  end if;
  return bus_internal.outcome('ok');
end $$;

-- Stores a chunk and starts the lease anew: {principal, id, upload_token, seq, sha256} and its bytes.
--   ok | lease_lost | mismatch | too_large
create or replace function public.bus_put_chunk(request text, body text) returns text
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  select bus_internal.put_chunk(request::json, decode(body, 'base64'))
$$;

-- The same for servers that take raw bytes; the request is in the header `bus-request`.
create or replace function public.bus_put_chunk_raw(bytea) returns text
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  select bus_internal.put_chunk(
    (nullif(current_setting('request.headers', true), '')::json ->> 'bus-request')::json, $1)
$$;

-- Whether raw bytes arrive as they were sent: the SHA-256 of what arrived.
create or replace function public.bus_echo_digest(bytea) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select encode(sha256($1), 'hex')
$$;

-- Starts the lease anew: {principal, id, upload_token}.   ok | lease_lost
create or replace function public.bus_renew(request text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  r json := request::json;
  owner text := bus_internal.principal(r ->> 'principal');
  message uuid := (r ->> 'id')::uuid;
  token uuid := (r ->> 'upload_token')::uuid;
begin
  update public.message_bus m
    set lease_expires_at = bus_internal.after_ms(bus_internal.instant(), m.lease_ms)
    where m.id = message and m.principal = owner and m.upload_token = token and m.status = 'pending';
  return bus_internal.outcome(case when found then 'ok' else 'lease_lost' end);
end $$;

-- Makes a message visible: {principal, id, upload_token, manifest (base64)}.   ok {record} | lease_lost | mismatch
create or replace function public.bus_commit(request text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  r json := request::json;
  owner text := bus_internal.principal(r ->> 'principal');
  message uuid := (r ->> 'id')::uuid;
  token uuid := (r ->> 'upload_token')::uuid;
  manifest bytea := decode(r ->> 'manifest', 'base64');
  m public.message_bus;
  at timestamptz;
  fault text;
begin
  -- The lock waits for chunks of this upload that are being written at this moment: with a weaker one, they and what is
  -- deleted below could wait for each other.
  select * into m from public.message_bus t
    where t.id = message and t.principal = owner and t.upload_token = token
    for update;
  if not found or m.status = 'error' or (m.status = 'complete' and m.manifest is distinct from manifest) then
    return bus_internal.outcome('lease_lost');
  end if;
  at := bus_internal.instant();
  m.payload := null;
  if m.status = 'pending' then
    fault := coalesce(bus_internal.plan_fault(m, manifest), bus_internal.chunks_fault(m.id, manifest));
    if fault is not null then
      return bus_internal.outcome('mismatch', fault);
    end if;
    m := bus_internal.completed(m, manifest, at);
    delete from public.message_bus_chunks c where c.message_id = m.id and c.seq >= m.chunk_count;
    update public.message_bus t set
      status = m.status, payload_size_bytes = m.payload_size_bytes,
      compressed_size_bytes = m.compressed_size_bytes, checksum = m.checksum,
      chunk_count = m.chunk_count, encoded_sha256 = m.encoded_sha256, manifest = m.manifest,
      manifest_sha256 = m.manifest_sha256, lease_expires_at = null, expires_at = m.expires_at
      where t.id = m.id;
  end if;
  return json_build_object('outcome', 'ok', 'record', bus_internal.record(m, at))::text;
end $$;

-- Which chunk of `manifest` is not stored as it says; null where all are.
create or replace function bus_internal.chunks_fault(message uuid, manifest bytea) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select case
      when c.seq is null then format('chunk %s is missing: upload it', wanted.seq)
      else format('chunk %s is not the one of the manifest: upload it again', wanted.seq)
    end
  from (
    select s as seq,
      bus_internal.number_at(manifest, 92 + 40 * s, 8) as stored,
      encode(substring(manifest from 101 + 40 * s for 32), 'hex') as digest
    from generate_series(0, (bus_internal.number_at(manifest, 88, 4) - 1)::integer) s
  ) wanted
  left join public.message_bus_chunks c on c.message_id = message and c.seq = wanted.seq
  where c.seq is null or c.stored_bytes <> wanted.stored or c.sha256 <> wanted.digest
  order by wanted.seq
  limit 1
$$;

-- Gives an upload up: {principal, id, upload_token, reason}.   ok | lease_lost
create or replace function public.bus_abort(request text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  r json := request::json;
  owner text := bus_internal.principal(r ->> 'principal');
  message uuid := (r ->> 'id')::uuid;
  token uuid := (r ->> 'upload_token')::uuid;
  why text := r ->> 'reason';
begin
  -- As in bus_commit: waits for chunks that are being written.
  perform from public.message_bus m
    where m.id = message and m.principal = owner and m.upload_token = token and m.status = 'pending'
    for update;
  if not found then
    return bus_internal.outcome('lease_lost');
  end if;
  update public.message_bus m
    set status = 'error', error_message = why, lease_expires_at = null,
      expires_at = bus_internal.after_ms(bus_internal.instant(), m.ttl_ms)
    where m.id = message;
  delete from public.message_bus_chunks c where c.message_id = message;
  return bus_internal.outcome('ok');
end $$;

-- Writes a message of one chunk in one round trip: what bus_begin takes, the manifest (base64), and the stored bytes.
-- Asked again with the same upload_token, it answers the same again.
--   created {record} | exists {record} | busy {retry_after_ms} | conflict | mismatch | too_large
create or replace function public.bus_put(request text, body text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  r json := request::json;
  manifest bytea := decode(r ->> 'manifest', 'base64');
  bytes bytea := decode(body, 'base64');
  wanted public.message_bus;
  held public.message_bus;
  at timestamptz := bus_internal.instant();
  fault text;
begin
  wanted := bus_internal.pending_row(r, bus_internal.principal(r ->> 'principal'), at);
  if octet_length(bytes) > 4194304 then
    return bus_internal.outcome('too_large',
      format('the body has %s stored bytes, one round trip takes 4194304', octet_length(bytes)));
  end if;
  fault := coalesce(bus_internal.plan_fault(wanted, manifest), bus_internal.body_fault(manifest, bytes));
  if fault is not null then
    return bus_internal.outcome('mismatch', fault);
  end if;
  wanted := bus_internal.completed(wanted, manifest, at);
  wanted.payload := bytes;
  loop
    insert into public.message_bus select wanted.* on conflict (principal, transaction_id) do nothing;
    if found then
      wanted.payload := null;
      return json_build_object('outcome', 'created', 'record', bus_internal.record(wanted, at))::text;
    end if;
    select * into held from public.message_bus m
      where m.principal = wanted.principal and m.transaction_id = wanted.transaction_id
      for update;
    continue when not found;
    held.payload := null;
    at := bus_internal.instant();
    if bus_internal.status_at(held, at) = 'complete' then
      if held.checksum <> wanted.checksum then
        return bus_internal.outcome('conflict');
      end if;
      return json_build_object(
        'outcome', case when held.upload_token = wanted.upload_token then 'created' else 'exists' end,
        'record', bus_internal.record(held, at))::text;
    end if;
    if held.status = 'pending' then
      if held.lease_expires_at > at then
        return json_build_object('outcome', 'busy',
          'retry_after_ms', bus_internal.to_ms(held.lease_expires_at) - bus_internal.to_ms(at))::text;
      end if;
      -- An upload with the same plan is carried on under its id.
      if bus_internal.same_plan(held, wanted) then
        wanted.id := held.id;
        wanted.created_at := held.created_at;
        wanted.accessed_at := held.created_at;
      end if;
    end if;
    delete from public.message_bus m where m.id = held.id;
  end loop;
end $$;

-- What of a body of one chunk is not as `manifest` says; null where nothing is.
create or replace function bus_internal.body_fault(manifest bytea, bytes bytea) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select case
    when bus_internal.number_at(manifest, 88, 4) <> 1 then
      'a message of several chunks cannot be put in one round trip'
    when bytes is null then 'chunk 0 is missing: upload it'
    when bus_internal.number_at(manifest, 92, 8) <> octet_length(bytes)
      or substring(manifest from 101 for 32) <> sha256(bytes) then
      'chunk 0 is not the one of the manifest: upload it again'
  end
$$;

-- Reading --------------------------------------------------------------------------------------------------------

-- A record, whatever its status: {principal, transaction_id}.   ok {record} | not_found
create or replace function public.bus_record(request text) returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  r json := request::json;
  owner text := bus_internal.principal(r ->> 'principal');
  txn text := r ->> 'transaction_id';
  m public.message_bus;
begin
  select * into m from public.message_bus t
    where t.principal = owner and t.transaction_id = txn;
  if not found then
    return bus_internal.outcome('not_found');
  end if;
  m.payload := null;
  return json_build_object('outcome', 'ok', 'record', bus_internal.record(m, bus_internal.instant()))::text;
end $$;

-- A message that can be read: {principal, transaction_id}.
--   ok {record, manifest (base64)} | not_found | expired {record} | not_complete {record}
create or replace function public.bus_open(request text) returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  r json := request::json;
  owner text := bus_internal.principal(r ->> 'principal');
  txn text := r ->> 'transaction_id';
  m public.message_bus;
  at timestamptz := bus_internal.instant();
begin
  select * into m from public.message_bus t
    where t.principal = owner and t.transaction_id = txn;
  if not found then
    return bus_internal.outcome('not_found');
  end if;
  m.payload := null;
  return json_build_object(
    'outcome', case bus_internal.status_at(m, at)
      when 'complete' then 'ok' when 'expired' then 'expired' else 'not_complete' end,
    'record', bus_internal.record(m, at),
    'manifest', replace(encode(m.manifest, 'base64'), E'\n', ''))::text;
end $$;

-- Whether the chunks of a message can be read: {principal, id}.
--   ok {chunk_count} | not_found | expired | not_complete
create or replace function public.bus_body(request text) returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  r json := request::json;
  owner text := bus_internal.principal(r ->> 'principal');
  message uuid := (r ->> 'id')::uuid;
  m record;
begin
  select t.status, t.expires_at, t.chunk_count into m from public.message_bus t
    where t.id = message and t.principal = owner;
  if not found then
    return bus_internal.outcome('not_found');
  end if;
  if m.status <> 'complete' then
    return bus_internal.outcome('not_complete');
  end if;
  if bus_internal.after_ms(m.expires_at, bus_internal.read_grace_ms()) <= bus_internal.instant() then
    return bus_internal.outcome('expired');
  end if;
  return json_build_object('outcome', 'ok', 'chunk_count', m.chunk_count)::text;
end $$;

-- The stored bytes of chunk `seq`, of a read that goes up to chunk `until` (not included). By GET, with
-- `Accept: application/octet-stream`. Errors: PT404 not_found, PT410 expired, PT409 not_complete, PT416 out_of_range,
-- PT500 damaged.
create or replace function public.bus_chunk(principal text, id uuid, seq integer, until integer)
returns public."application/octet-stream"
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  owner text := bus_internal.principal(bus_chunk.principal);
  m record;
  bytes bytea;
begin
  select t.status, t.expires_at, t.chunk_count, t.payload into m from public.message_bus t
    where t.id = bus_chunk.id and t.principal = owner;
  if not found then
    raise sqlstate 'PT404' using message = 'not_found', detail = 'there is no such message';
  end if;
  if m.status <> 'complete' then
    raise sqlstate 'PT409' using message = 'not_complete', detail = 'the message has no body';
  end if;
  if bus_internal.after_ms(m.expires_at, bus_internal.read_grace_ms()) <= bus_internal.instant() then
    raise sqlstate 'PT410' using message = 'expired', detail = 'the message has expired';
  end if;
  if (seq >= 0 and seq < until and until <= m.chunk_count) is not true then
    raise sqlstate 'PT416' using
      message = 'out_of_range', detail = format('the message has %s chunks', m.chunk_count);
  end if;
  if m.payload is not null then
    return m.payload;
  end if;
  select c.body into bytes from public.message_bus_chunks c
    where c.message_id = bus_chunk.id and c.seq = bus_chunk.seq;
  if not found then
    raise sqlstate 'PT500' using message = 'damaged', detail = format('chunk %s is missing', seq);
  end if;
  return bytes;
end $$;

-- A page of records, newest first, and fewer where they are long: {principal, limit, session_id?, tool_name?,
-- provider_name?, status?, from_ms?, before_ms?, after: [created_ms, id]?}; at most 1000.   ok {records, more}
create or replace function public.bus_list(request text) returns text
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan as $$
declare
  r json := request::json;
  owner text := bus_internal.principal(r ->> 'principal');
  at timestamptz := bus_internal.instant();
  session text := r ->> 'session_id';
  tool text := r ->> 'tool_name';
  provider text := r ->> 'provider_name';
  wanted text := r ->> 'status';
  stored text := case wanted when 'expired' then 'complete' else wanted end;
  since timestamptz := bus_internal.from_ms((r ->> 'from_ms')::bigint);
  before timestamptz := bus_internal.from_ms((r ->> 'before_ms')::bigint);
  after_at timestamptz := bus_internal.from_ms((r -> 'after' ->> 0)::bigint);
  after_id uuid := (r -> 'after' ->> 1)::uuid;
  most integer := least(greatest((r ->> 'limit')::bigint, 1), 1000);
  m public.message_bus;
  record json;
  records json[] := '{}';
  bytes bigint := 0;
  more boolean := false;
begin
  for m in select t.* from public.message_bus t
    where t.principal = owner
      and (session is null or t.session_id = session)
      and (tool is null or t.tool_name = tool)
      and (provider is null or t.provider_name = provider)
      and (stored is null or t.status = stored)
      and (wanted is null or wanted <> 'complete' or t.expires_at > at)
      and (wanted is null or wanted <> 'expired' or t.expires_at <= at)
      and (since is null or t.created_at >= since)
      and (before is null or t.created_at < before)
      and (after_at is null or (t.created_at, t.id) < (after_at, after_id))
    order by t.created_at desc, t.id desc
    limit most + 1
  loop
    more := cardinality(records) >= most or bytes > 8388608;
    exit when more;
    m.payload := null;
    m.manifest := null;
    record := bus_internal.record(m, at);
    records := array_append(records, record);
    bytes := bytes + octet_length(record::text);
  end loop;
  return json_build_object('outcome', 'ok', 'records', array_to_json(records), 'more', more)::text;
end $$;

-- Keeping --------------------------------------------------------------------------------------------------------

-- Stamps the access of messages, best effort: {keys: [[principal, transaction_id] ...]}.   ok
create or replace function public.bus_touch(request text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  owner text := bus_internal.scope();
  at timestamptz := bus_internal.instant();
begin
  -- Rows that somebody else holds are left alone, so that nobody waits here.
  with wanted as materialized (
    select distinct coalesce(owner, nullif(k ->> 0, ''), 'default') as principal, k ->> 1 as txn
    from json_array_elements(request::json -> 'keys') k
  ), due as (
    select m.id from public.message_bus m
    join wanted w on m.principal = w.principal and m.transaction_id = w.txn
    where m.status = 'complete' and m.expires_at > at
    for no key update of m skip locked
  )
  update public.message_bus m set accessed_at = at from due where m.id = due.id;
  return bus_internal.outcome('ok');
end $$;

-- Stamps the acknowledgement: {principal, transaction_id}.
--   ok {acknowledged_ms} | not_found | expired {record} | not_complete {record}
create or replace function public.bus_acknowledge(request text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  r json := request::json;
  owner text := bus_internal.principal(r ->> 'principal');
  txn text := r ->> 'transaction_id';
  m public.message_bus;
  at timestamptz;
begin
  select * into m from public.message_bus t
    where t.principal = owner and t.transaction_id = txn
    for no key update;
  if not found then
    return bus_internal.outcome('not_found');
  end if;
  at := bus_internal.instant();
  m.payload := null;
  if bus_internal.status_at(m, at) <> 'complete' then
    return json_build_object(
      'outcome', case bus_internal.status_at(m, at) when 'expired' then 'expired' else 'not_complete' end,
      'record', bus_internal.record(m, at))::text;
  end if;
  if m.acknowledged_at is null then
    m.acknowledged_at := at;
    update public.message_bus t set acknowledged_at = at where t.id = m.id;
  end if;
  return json_build_object(
    'outcome', 'ok', 'acknowledged_ms', bus_internal.to_ms(m.acknowledged_at))::text;
end $$;

-- Removes a message of any status: {principal, transaction_id}.   ok | not_found
create or replace function public.bus_delete(request text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  r json := request::json;
  owner text := bus_internal.principal(r ->> 'principal');
  txn text := r ->> 'transaction_id';
begin
  delete from public.message_bus m
    where m.principal = owner and m.transaction_id = txn;
  return bus_internal.outcome(case when found then 'ok' else 'not_found' end);
end $$;

-- Removes one bounded batch of what may go: {limit, acknowledged_after_ms?}; of everybody for the service role, else
-- of the caller. At most 10000, and 500 where the request does not say.
--   ok {expired, orphaned, failed, acknowledged, freed_bytes, more}
create or replace function public.bus_purge(request text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  r json := request::json;
  owner text := bus_internal.scope();
  most bigint := least(greatest(coalesce((r ->> 'limit')::bigint, 500), 0), 10000);
  grace bigint := (r ->> 'acknowledged_after_ms')::bigint;
  at timestamptz := bus_internal.instant();
  over timestamptz := bus_internal.from_ms(bus_internal.to_ms(at) - bus_internal.read_grace_ms());
  due uuid[];
  freed bigint := 0;
  expired bigint; orphaned bigint; failed bigint; acknowledged bigint := 0;
begin
  due := array(select m.id from public.message_bus m
    where m.status = 'complete' and m.expires_at <= over and (owner is null or m.principal = owner)
    limit most for update skip locked);
  expired := cardinality(due);
  freed := freed + bus_internal.remove(due);

  due := array(select m.id from public.message_bus m
    where m.status = 'pending' and m.lease_expires_at <= at and (owner is null or m.principal = owner)
    limit most - expired for update skip locked);
  orphaned := cardinality(due);
  freed := freed + bus_internal.remove(due);

  due := array(select m.id from public.message_bus m
    where m.status = 'error' and m.expires_at <= at and (owner is null or m.principal = owner)
    limit most - expired - orphaned for update skip locked);
  failed := cardinality(due);
  freed := freed + bus_internal.remove(due);

  if grace is not null then
    due := array(select m.id from public.message_bus m
      where m.status = 'complete' and bus_internal.after_ms(m.acknowledged_at, grace) <= at
        and (owner is null or m.principal = owner)
      limit most - expired - orphaned - failed for update skip locked);
    acknowledged := cardinality(due);
    freed := freed + bus_internal.remove(due);
  end if;
  return json_build_object('outcome', 'ok', 'expired', expired, 'orphaned', orphaned, 'failed', failed,
    'acknowledged', acknowledged, 'freed_bytes', freed,
    'more', expired + orphaned + failed + acknowledged >= most)::text;
end $$;

-- Deletes messages that the caller has locked; the stored bytes that this frees.
create or replace function bus_internal.remove(messages uuid[]) returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  freed bigint;
begin
  select coalesce(sum(case when m.status = 'complete' then m.compressed_size_bytes else
      (select coalesce(sum(c.stored_bytes), 0) from public.message_bus_chunks c where c.message_id = m.id) end), 0)
    into freed from public.message_bus m where m.id = any (messages);
  delete from public.message_bus m where m.id = any (messages);
  return freed;
end $$;

-- Counts, over everybody for the service role, else over the caller.
--   ok {pending, complete, error, expired, payload_bytes, stored_bytes}
create or replace function public.bus_stats(request text default '{}') returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  owner text := bus_internal.scope();
  at timestamptz := bus_internal.instant();
begin
  return (select json_build_object(
      'outcome', 'ok',
      'pending', count(*) filter (where m.status = 'pending'),
      'complete', count(*) filter (where m.status = 'complete' and m.expires_at > at),
      'error', count(*) filter (where m.status = 'error'),
      'expired', count(*) filter (where m.status = 'complete' and m.expires_at <= at),
      'payload_bytes', coalesce(sum(m.payload_size_bytes)
        filter (where m.status = 'complete' and m.expires_at > at), 0),
      'stored_bytes', coalesce(sum(m.compressed_size_bytes)
        filter (where m.status = 'complete' and m.expires_at > at), 0))::text
    from public.message_bus m where owner is null or m.principal = owner);
end $$;

-- The version of this schema. A client refuses one that it does not know.
create or replace function bus_internal.schema_version() returns integer
language sql immutable set search_path = pg_catalog, pg_temp as $$ select 1 $$;

-- Whether the store can be used, and by whom it is asked.   ok {schema_version, server_ms, principal, statement_timeout}
create or replace function public.bus_check(request text default '{}') returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return json_build_object(
    'outcome', 'ok',
    'schema_version', bus_internal.schema_version(),
    'server_ms', bus_internal.to_ms(bus_internal.instant()),
    -- null for the service role, which acts for everybody.
    'principal', bus_internal.scope(),
    'statement_timeout', current_setting('statement_timeout'))::text;
end $$;

-- Who may call what ----------------------------------------------------------------------------------------------

revoke all on all functions in schema bus_internal from public, anon, authenticated, service_role;

do $$
declare
  f regprocedure;
begin
  foreach f in array array[
    'public.bus_begin(text)', 'public.bus_put_chunk(text,text)', 'public.bus_put_chunk_raw(bytea)',
    'public.bus_echo_digest(bytea)', 'public.bus_renew(text)', 'public.bus_commit(text)',
    'public.bus_abort(text)', 'public.bus_put(text,text)', 'public.bus_record(text)', 'public.bus_open(text)',
    'public.bus_body(text)', 'public.bus_chunk(text,uuid,integer,integer)', 'public.bus_list(text)',
    'public.bus_touch(text)', 'public.bus_acknowledge(text)', 'public.bus_delete(text)', 'public.bus_purge(text)',
    'public.bus_stats(text)', 'public.bus_check(text)']::regprocedure[]
  loop
    execute format('revoke all on function %s from public, anon', f);
    execute format('grant execute on function %s to authenticated, service_role', f);
  end loop;
end $$;

notify pgrst, 'reload schema';
