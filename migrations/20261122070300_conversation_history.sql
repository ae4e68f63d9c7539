-- bus: conversation history: what was said, in order. Long entries are messages, of which the claim is kept here.
--
-- The wire is that of the messages. Texts that may hold anything travel as JSON within a JSON string, and are kept as
-- json, which takes \u0000.

create table if not exists public.conversation_history (
  principal text not null,
  conversation_id text collate "C" not null,
  -- In order within the conversation, from 1.
  seq bigint not null,
  entry_id text not null,
  role text not null,
  content json,
  content_transaction_id text,
  content_size_bytes bigint not null,
  content_sha256 text not null,
  metadata json not null default '{}'::json,
  created_at timestamptz not null default date_trunc('milliseconds', now()),

  constraint conversation_history_place primary key (principal, conversation_id, seq),
  -- Ids are the writer's, so they are unique within a conversation only: nobody learns of another's.
  constraint conversation_history_key unique (principal, conversation_id, entry_id),
  constraint conversation_history_principal_legal check (principal ~ '^[!-~]{1,128}$'),
  constraint conversation_history_names_legal check (
    octet_length(conversation_id) between 1 and 256
    and entry_id ~ '^[A-Za-z0-9._-]{1,128}$' and role ~ '^[A-Za-z0-9_-]{1,64}$'),
  constraint conversation_history_sizes_legal check (seq > 0 and content_size_bytes >= 0),
  constraint conversation_history_digest_legal check (content_sha256 ~ '^[0-9a-f]{64}$'),
  -- Either the text itself or the message that holds it. 64 KiB of text may need six times as many as JSON.
  constraint conversation_history_content_legal check (
    (content is null) <> (content_transaction_id is null)
    and json_typeof(content) = 'string' and octet_length(content::text) <= 409600
    and content_transaction_id ~ '^[A-Za-z0-9._-]{1,128}$'),
  constraint conversation_history_inline_bounded check (content is null or content_size_bytes <= 65536),
  constraint conversation_history_metadata_legal check (
    json_typeof(metadata) = 'object' and octet_length(metadata::text) <= 16384)
);

comment on table public.conversation_history is 'bus: one row an entry of a conversation; written by bus_history_append only';
comment on column public.conversation_history.content is 'the text, a JSON string; null where it is a message of its own';
comment on column public.conversation_history.content_transaction_id is 'the message in message_bus that holds the text';
comment on column public.conversation_history.content_sha256 is 'SHA-256 of the text, hexadecimal';

-- For who deletes a message and wants to know what claims it.
create index if not exists idx_conversation_history_transaction
  on public.conversation_history (principal, content_transaction_id) where content_transaction_id is not null;

alter table public.conversation_history enable row level security;
revoke all on public.conversation_history from public, anon, authenticated, service_role;
grant select on public.conversation_history to authenticated;
grant select, delete on public.conversation_history to service_role;

drop policy if exists conversation_history_own on public.conversation_history;
create policy conversation_history_own on public.conversation_history for select to authenticated
  using (principal = (
    select nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub'));

-- Makes the writers of one conversation wait for each other, until the transaction ends. So an entry is committed before
-- the next one gets its number, and a reader that goes forwards never misses one.
create or replace function bus_internal.lock_conversation(owner text, conversation text) returns void
language sql volatile set search_path = pg_catalog, pg_temp as $$
  select pg_advisory_xact_lock(hashtextextended(owner || ' ' || conversation, 6841726))
$$;

-- Appends an entry: {principal, conversation_id, entry_id, role, content (JSON within a string)? | transaction_id?,
-- size_bytes, sha256, metadata (JSON within a string)}.
--   created {seq, created_ms} | exists {seq, created_ms} | conflict
create or replace function public.bus_history_append(request text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  r json := request::json;
  h public.conversation_history;
  held public.conversation_history;
begin
  h.principal := bus_internal.principal(r ->> 'principal');
  h.conversation_id := r ->> 'conversation_id';
  h.entry_id := r ->> 'entry_id';
  h.role := r ->> 'role';
  h.content := (r ->> 'content')::json;
  h.content_transaction_id := r ->> 'transaction_id';
  h.content_size_bytes := (r ->> 'size_bytes')::bigint;
  h.content_sha256 := r ->> 'sha256';
  h.metadata := (r ->> 'metadata')::json;
  if h.conversation_id is null then
    raise sqlstate 'PT400' using message = 'invalid', detail = 'conversation_id is missing';
  end if;
  perform bus_internal.lock_conversation(h.principal, h.conversation_id);
  select * into held from public.conversation_history t
    where t.principal = h.principal and t.conversation_id = h.conversation_id and t.entry_id = h.entry_id;
  if found then
    if held.role is distinct from h.role or held.content_sha256 is distinct from h.content_sha256 then
      return bus_internal.outcome('conflict');
    end if;
    return json_build_object(
      'outcome', 'exists', 'seq', held.seq, 'created_ms', bus_internal.to_ms(held.created_at))::text;
  end if;
  h.seq := 1 + coalesce((select max(t.seq) from public.conversation_history t
    where t.principal = h.principal and t.conversation_id = h.conversation_id), 0);
  h.created_at := bus_internal.instant();
  insert into public.conversation_history select h.*;
  return json_build_object('outcome', 'created', 'seq', h.seq, 'created_ms', bus_internal.to_ms(h.created_at))::text;
end $$;

-- An entry as it travels.
create or replace function bus_internal.history_entry(h public.conversation_history) returns json
language sql stable set search_path = pg_catalog, pg_temp as $$
  select json_build_object(
    'seq', h.seq,
    'entry_id', h.entry_id,
    'role', h.role,
    'content', h.content::text,
    'transaction_id', h.content_transaction_id,
    'size_bytes', h.content_size_bytes,
    'sha256', h.content_sha256,
    'metadata', h.metadata::text,
    'created_ms', bus_internal.to_ms(h.created_at))
$$;

-- One entry: {principal, conversation_id, seq}.   ok {entry} | not_found
create or replace function public.bus_history_entry(request text) returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  r json := request::json;
  owner text := bus_internal.principal(r ->> 'principal');
  conversation text := r ->> 'conversation_id';
  place bigint := (r ->> 'seq')::bigint;
  h public.conversation_history;
begin
  select * into h from public.conversation_history t
    where t.principal = owner and t.conversation_id = conversation and t.seq = place;
  if not found then
    return bus_internal.outcome('not_found');
  end if;
  return json_build_object('outcome', 'ok', 'entry', bus_internal.history_entry(h))::text;
end $$;

-- A page of entries: {principal, conversation_id, direction: forwards | backwards, after?, limit}; at most 100, and fewer
-- where they are long.   ok {entries, more}
create or replace function public.bus_history_page(request text) returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  r json := request::json;
  owner text := bus_internal.principal(r ->> 'principal');
  conversation text := r ->> 'conversation_id';
  after bigint := (r ->> 'after')::bigint;
  most integer := least(greatest((r ->> 'limit')::bigint, 1), 100);
  backwards boolean := r ->> 'direction' = 'backwards';
  given json;
  fitting bigint;
  count bigint;
begin
  with picked as (
    (select h from public.conversation_history h
      where not backwards and h.principal = owner and h.conversation_id = conversation
        and (after is null or h.seq > after)
      order by h.seq limit most + 1)
    union all
    (select h from public.conversation_history h
      where backwards and h.principal = owner and h.conversation_id = conversation
        and (after is null or h.seq < after)
      order by h.seq desc limit most + 1)
  ), placed as (
    select p.h, row_number() over w as place, coalesce(sum(octet_length((p.h).content::text)) over w, 0) as bytes
    from picked p
    window w as (order by case when backwards then -(p.h).seq else (p.h).seq end)
  ), judged as (
    select p.*, p.place <= most and (p.place = 1 or p.bytes <= 8388608) as fits from placed p
  )
  select coalesce(json_agg(bus_internal.history_entry(j.h) order by j.place) filter (where j.fits), '[]'::json),
      count(*) filter (where j.fits), count(*)
    into given, fitting, count
    from judged j;
  return json_build_object('outcome', 'ok', 'entries', given, 'more', count > fitting)::text;
end $$;

-- A page of conversations by name: {principal, after?, limit}; at most 100.
--   ok {conversations: [{conversation_id, entries, last_seq, last_ms} ...], more}
create or replace function public.bus_history_conversations(request text) returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  r json := request::json;
  owner text := bus_internal.principal(r ->> 'principal');
  after text := r ->> 'after';
  most integer := least(greatest((r ->> 'limit')::bigint, 1), 100);
  given json;
  count bigint;
begin
  select coalesce(json_agg(json_build_object('conversation_id', page.conversation_id, 'entries', page.entries,
      'last_seq', page.last_seq, 'last_ms', page.last_ms) order by page.place)
      filter (where page.place <= most), '[]'::json), count(*)
    into given, count
    from (
      select c.*, row_number() over (order by c.conversation_id) as place from (
        select h.conversation_id, count(*) as entries, max(h.seq) as last_seq,
          bus_internal.to_ms(max(h.created_at)) as last_ms
        from public.conversation_history h
        where h.principal = owner and (after is null or h.conversation_id > after)
        group by h.conversation_id
        order by h.conversation_id
        limit most + 1
      ) c
    ) page;
  return json_build_object('outcome', 'ok', 'conversations', given, 'more', count > most)::text;
end $$;

-- Removes a conversation, whole: {principal, conversation_id}.   ok {entries} | not_found
create or replace function public.bus_history_delete(request text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  r json := request::json;
  owner text := bus_internal.principal(r ->> 'principal');
  conversation text := r ->> 'conversation_id';
  entries bigint;
begin
  perform bus_internal.lock_conversation(owner, conversation);
  delete from public.conversation_history h where h.principal = owner and h.conversation_id = conversation;
  get diagnostics entries = row_count;
  if entries = 0 then
    return bus_internal.outcome('not_found');
  end if;
  return json_build_object('outcome', 'ok', 'entries', entries)::text;
end $$;

revoke all on function bus_internal.lock_conversation(text, text),
  bus_internal.history_entry(public.conversation_history)
  from public, anon, authenticated, service_role;
revoke all on function public.bus_history_append(text), public.bus_history_entry(text),
  public.bus_history_page(text), public.bus_history_conversations(text), public.bus_history_delete(text)
  from public, anon;
grant execute on function public.bus_history_append(text), public.bus_history_entry(text),
  public.bus_history_page(text), public.bus_history_conversations(text), public.bus_history_delete(text)
  to authenticated, service_role;

notify pgrst, 'reload schema';
