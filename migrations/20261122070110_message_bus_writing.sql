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

revoke all on all functions in schema bus_internal from public, anon, authenticated, service_role;

do $$
declare
  f regprocedure;
begin
  foreach f in array array[
    'public.bus_begin(text)', 'public.bus_put_chunk(text,text)', 'public.bus_put_chunk_raw(bytea)',
    'public.bus_echo_digest(bytea)', 'public.bus_renew(text)', 'public.bus_commit(text)',
    'public.bus_abort(text)', 'public.bus_put(text,text)']::regprocedure[]
  loop
    execute format('revoke all on function %s from public, anon', f);
    execute format('grant execute on function %s to authenticated, service_role', f);
  end loop;
end $$;

notify pgrst, 'reload schema';
