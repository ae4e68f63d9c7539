-- bus: the functions that keep messages: accesses, acknowledgements, deleting, purging, counts, and whether the
-- store can be used.

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
-- of the caller. At most 10000, and 500 where the request does not say; and it ends with the message that makes it
-- 256 MiB: deleting takes time by bytes, and a statement that runs out of its time has deleted nothing.
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
  bytes constant bigint := 268435456;
  room bigint := bytes;
  expired bigint; orphaned bigint; failed bigint; acknowledged bigint := 0;
begin
  select d.removed, room - d.freed into expired, room from bus_internal.remove(array(
    select m.id from public.message_bus m
    where m.status = 'complete' and m.expires_at <= over and (owner is null or m.principal = owner)
    limit most for update skip locked), room) d;

  select d.removed, room - d.freed into orphaned, room from bus_internal.remove(array(
    select m.id from public.message_bus m
    where m.status = 'pending' and m.lease_expires_at <= at and (owner is null or m.principal = owner)
    limit most - expired for update skip locked), room) d;

  select d.removed, room - d.freed into failed, room from bus_internal.remove(array(
    select m.id from public.message_bus m
    where m.status = 'error' and m.expires_at <= at and (owner is null or m.principal = owner)
    limit most - expired - orphaned for update skip locked), room) d;

  if grace is not null then
    select d.removed, room - d.freed into acknowledged, room from bus_internal.remove(array(
      select m.id from public.message_bus m
      where m.status = 'complete' and bus_internal.after_ms(m.acknowledged_at, grace) <= at
        and (owner is null or m.principal = owner)
      limit most - expired - orphaned - failed for update skip locked), room) d;
  end if;
  return json_build_object('outcome', 'ok', 'expired', expired, 'orphaned', orphaned, 'failed', failed,
    'acknowledged', acknowledged, 'freed_bytes', bytes - room,
    'more', room <= 0 or expired + orphaned + failed + acknowledged >= most)::text;
end $$;

-- Deletes messages that the caller has locked, in their order as long as there is room for bytes; the last one may be
-- larger than what is left. How many they were, and the stored bytes that this frees.
create or replace function bus_internal.remove(messages uuid[], room bigint, out removed bigint, out freed bigint)
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  fitting uuid[];
begin
  select coalesce(array_agg(w.id), '{}'), coalesce(sum(w.bytes), 0) into fitting, freed
  from (
    select s.id, s.bytes, sum(s.bytes) over (order by s.place) - s.bytes as before
    from (
      select m.id, l.place, case when m.status = 'complete' then m.compressed_size_bytes else
        (select coalesce(sum(c.stored_bytes), 0) from public.message_bus_chunks c where c.message_id = m.id) end as bytes
      from unnest(messages) with ordinality l (id, place) join public.message_bus m on m.id = l.id) s) w
  where w.before < room;
  delete from public.message_bus m where m.id = any (fitting);
  removed := cardinality(fitting);
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

revoke all on all functions in schema bus_internal from public, anon, authenticated, service_role;

do $$
declare
  f regprocedure;
begin
  foreach f in array array[
    'public.bus_touch(text)', 'public.bus_acknowledge(text)', 'public.bus_delete(text)',
    'public.bus_purge(text)', 'public.bus_stats(text)', 'public.bus_check(text)']::regprocedure[]
  loop
    execute format('revoke all on function %s from public, anon', f);
    execute format('grant execute on function %s to authenticated, service_role', f);
  end loop;
end $$;

notify pgrst, 'reload schema';
