-- bus: what the functions of messages share: time, identity, records, manifests. No client calls any of it.

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

revoke all on all functions in schema bus_internal from public, anon, authenticated, service_role;
