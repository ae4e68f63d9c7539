-- bus: the audit log: one row a routed call. Queried by transaction, session, tool and time.
--
-- The wire is that of the step before. Texts that may hold anything (also \u0000, which no text column takes) travel as
-- JSON within a JSON string, and are kept as json.

create table if not exists public.audit_log (
  id uuid not null,
  at timestamptz not null,
  principal text not null,
  session_id text not null,
  request_id json not null,
  transaction_id text,
  tool_name text not null,
  provider_name text not null,
  payload_size_bytes bigint not null,
  frame_bytes bigint not null,
  route text not null,
  reason json not null,
  skipped json not null default '[]'::json,
  tool_ms bigint,
  store_ms bigint,
  total_ms bigint not null,
  outcome text not null,
  error_message json,

  -- Ids are the writer's, so they are unique within a principal only: nobody learns of another's.
  constraint audit_log_key primary key (principal, id),
  constraint audit_log_principal_legal check (principal ~ '^[!-~]{1,128}$'),
  constraint audit_log_names_legal check (
    octet_length(session_id) between 1 and 256
    and octet_length(tool_name) between 1 and 256
    and octet_length(provider_name) between 1 and 256),
  constraint audit_log_transaction_id_legal check (transaction_id ~ '^[A-Za-z0-9._-]{1,128}$'),
  constraint audit_log_words_legal check (
    route ~ '^[A-Za-z0-9_-]{1,64}$' and outcome ~ '^[A-Za-z0-9_-]{1,64}$'),
  constraint audit_log_numbers_legal check (
    payload_size_bytes >= 0 and frame_bytes >= 0 and tool_ms >= 0 and store_ms >= 0 and total_ms >= 0),
  -- 2048 bytes of text may need six times as many as JSON.
  constraint audit_log_texts_legal check (
    json_typeof(request_id) = 'string' and octet_length(request_id::text) <= 16384
    and json_typeof(reason) = 'string' and octet_length(reason::text) <= 16384
    and json_typeof(skipped) = 'array' and octet_length(skipped::text) <= 262144
    and json_typeof(error_message) = 'string' and octet_length(error_message::text) <= 16384)
);

comment on table public.audit_log is 'bus: one row a routed call; written by bus_audit_append only';
comment on column public.audit_log.at is 'when the call was answered or given up, by the clock of its writer';
comment on column public.audit_log.route is 'how the result travelled: inline, claim, ... or none';
comment on column public.audit_log.skipped is 'steps that were not taken before: [{"step", "reason"} ...]';

create index if not exists idx_audit_log_page on public.audit_log (principal, at, id);
create index if not exists idx_audit_log_transaction
  on public.audit_log (principal, transaction_id, at, id) where transaction_id is not null;
create index if not exists idx_audit_log_session on public.audit_log (principal, session_id, at, id);
create index if not exists idx_audit_log_tool on public.audit_log (principal, tool_name, at, id);
create index if not exists idx_audit_log_at on public.audit_log (at);

alter table public.audit_log enable row level security;
revoke all on public.audit_log from public, anon, authenticated, service_role;
grant select on public.audit_log to authenticated;
grant select, delete on public.audit_log to service_role;

drop policy if exists audit_log_own on public.audit_log;
create policy audit_log_own on public.audit_log for select to authenticated
  using (principal = (
    select nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub'));

-- Appends entries, all or none: {entries: [{id, at_ms, principal, session_id, request_id (json), transaction_id?,
-- tool_name, provider_name, payload_size_bytes, frame_bytes, route, reason (json), skipped (json), tool_ms?, store_ms?,
-- total_ms, outcome, error_message (json)?} ...]}; (json) is JSON within a string. At most 500. What is there already is
-- passed over.   ok {appended} | too_large
create or replace function public.bus_audit_append(request text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  batch json := request::json -> 'entries';
  appended bigint;
begin
  if json_array_length(batch) > 500 then
    return bus_internal.outcome('too_large',
      format('%s entries were sent at once, at most 500 are taken', json_array_length(batch)));
  end if;
  -- In one order, so that two writers of the same entries never wait for each other.
  insert into public.audit_log
    (id, at, principal, session_id, request_id, transaction_id, tool_name, provider_name, payload_size_bytes,
     frame_bytes, route, reason, skipped, tool_ms, store_ms, total_ms, outcome, error_message)
    select e.id, bus_internal.from_ms(e.at_ms), e.owner, e.entry ->> 'session_id', (e.entry ->> 'request_id')::json,
      e.entry ->> 'transaction_id', e.entry ->> 'tool_name', e.entry ->> 'provider_name',
      (e.entry ->> 'payload_size_bytes')::bigint, (e.entry ->> 'frame_bytes')::bigint, e.entry ->> 'route',
      (e.entry ->> 'reason')::json, (e.entry ->> 'skipped')::json, (e.entry ->> 'tool_ms')::bigint,
      (e.entry ->> 'store_ms')::bigint, (e.entry ->> 'total_ms')::bigint, e.entry ->> 'outcome',
      (e.entry ->> 'error_message')::json
    from (
      select value as entry, (value ->> 'id')::uuid as id, (value ->> 'at_ms')::bigint as at_ms,
        bus_internal.principal(value ->> 'principal') as owner
      from json_array_elements(batch)
    ) e
    order by e.owner, e.id
    on conflict (principal, id) do nothing;
  get diagnostics appended = row_count;
  return json_build_object('outcome', 'ok', 'appended', appended)::text;
end $$;

-- An entry as it travels.
create or replace function bus_internal.audit_entry(a public.audit_log) returns json
language sql stable set search_path = pg_catalog, pg_temp as $$
  select json_build_object(
    'id', a.id,
    'at_ms', bus_internal.to_ms(a.at),
    'principal', a.principal,
    'session_id', a.session_id,
    'request_id', a.request_id::text,
    'transaction_id', a.transaction_id,
    'tool_name', a.tool_name,
    'provider_name', a.provider_name,
    'payload_size_bytes', a.payload_size_bytes,
    'frame_bytes', a.frame_bytes,
    'route', a.route,
    'reason', a.reason::text,
    'skipped', a.skipped::text,
    'tool_ms', a.tool_ms,
    'store_ms', a.store_ms,
    'total_ms', a.total_ms,
    'outcome', a.outcome,
    'error_message', a.error_message::text)
$$;

-- A page of entries, newest first: {principal, limit, transaction_id?, session_id?, tool_name?, from_ms?, before_ms?,
-- after: [at_ms, id]?}; at most 500 a page.   ok {entries, more}
create or replace function public.bus_audit_query(request text) returns text
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan as $$
declare
  r json := request::json;
  owner text := bus_internal.principal(r ->> 'principal');
  txn text := r ->> 'transaction_id';
  session text := r ->> 'session_id';
  tool text := r ->> 'tool_name';
  since timestamptz := bus_internal.from_ms((r ->> 'from_ms')::bigint);
  before timestamptz := bus_internal.from_ms((r ->> 'before_ms')::bigint);
  after_at timestamptz := bus_internal.from_ms((r -> 'after' ->> 0)::bigint);
  after_id uuid := (r -> 'after' ->> 1)::uuid;
  most integer := least(greatest((r ->> 'limit')::bigint, 1), 500);
  entries json;
  count bigint;
begin
  select coalesce(json_agg(page.entry order by page.place) filter (where page.place <= most), '[]'::json), count(*)
    into entries, count
    from (
      select bus_internal.audit_entry(a) as entry, row_number() over (order by a.at desc, a.id desc) as place
      from public.audit_log a
      where a.principal = owner
        and (txn is null or a.transaction_id = txn)
        and (session is null or a.session_id = session)
        and (tool is null or a.tool_name = tool)
        and (since is null or a.at >= since)
        and (before is null or a.at < before)
        and (after_at is null or (a.at, a.id) < (after_at, after_id))
      order by a.at desc, a.id desc
      limit most + 1
    ) page;
  return json_build_object('outcome', 'ok', 'entries', entries, 'more', count > most)::text;
end $$;

-- Removes one bounded batch of entries that are older than {older_than_ms}, the oldest first, at most {limit} and 10000;
-- of everybody for the service role, else of the caller.   ok {removed, more}
create or replace function public.bus_audit_purge(request text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  r json := request::json;
  owner text := bus_internal.scope();
  most bigint := least(greatest((r ->> 'limit')::bigint, 1), 10000);
  age bigint := (r ->> 'older_than_ms')::bigint;
  over timestamptz := bus_internal.from_ms(bus_internal.to_ms(bus_internal.instant()) - age);
  removed bigint;
begin
  if age is null or age < 0 then
    raise sqlstate 'PT400' using message = 'invalid', detail = 'older_than_ms is missing or below 0';
  end if;
  with due as (
    select a.principal, a.id from public.audit_log a
      where a.at <= over and (owner is null or a.principal = owner)
      order by a.at limit most for update skip locked
  )
  delete from public.audit_log a using due where a.principal = due.principal and a.id = due.id;
  get diagnostics removed = row_count;
  return json_build_object('outcome', 'ok', 'removed', removed, 'more', removed >= most)::text;
end $$;

revoke all on function bus_internal.audit_entry(public.audit_log) from public, anon, authenticated, service_role;
revoke all on function public.bus_audit_append(text), public.bus_audit_query(text), public.bus_audit_purge(text)
  from public, anon;
grant execute on function public.bus_audit_append(text), public.bus_audit_query(text), public.bus_audit_purge(text)
  to authenticated, service_role;

notify pgrst, 'reload schema';
