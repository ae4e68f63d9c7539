-- bus: the functions that read messages; the wire is described in the step that writes them.

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

revoke all on all functions in schema bus_internal from public, anon, authenticated, service_role;

do $$
declare
  f regprocedure;
begin
  foreach f in array array[
    'public.bus_record(text)', 'public.bus_open(text)', 'public.bus_body(text)',
    'public.bus_chunk(text,uuid,integer,integer)', 'public.bus_list(text)']::regprocedure[]
  loop
    execute format('revoke all on function %s from public, anon', f);
    execute format('grant execute on function %s to authenticated, service_role', f);
  end loop;
end $$;

notify pgrst, 'reload schema';
