-- bus: the tables of messages: who may see them, and what must always hold of them.
--
-- The columns and indexes of the original keep their names. Three types differ, each for a reason:
--   payload   bytea, not jsonb: jsonb reorders keys, refuses \u0000 and ends at 256 MB; digests are over exact bytes.
--   metadata  json, not jsonb: json keeps what was written, also \u0000 and 1.0.
--   sizes     bigint, not integer.
--
-- Nobody writes these tables by hand: the functions of the next step do, which judge leases and fences.

-- Roles: Supabase has them. Elsewhere they are made here, which needs CREATEROLE (and, for BYPASSRLS, a superuser).
do $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'anon') then
    create role anon nologin noinherit;
  end if;
  if not exists (select from pg_catalog.pg_roles where rolname = 'authenticated') then
    create role authenticated nologin noinherit;
  end if;
  if not exists (select from pg_catalog.pg_roles where rolname = 'service_role') then
    create role service_role nologin noinherit bypassrls;
  end if;
exception
  -- Another database of the same cluster is being migrated at this moment.
  when duplicate_object or unique_violation then null;
end $$;

grant usage on schema public to authenticated, service_role;

-- Helpers that no client calls.
create schema if not exists bus_internal;
revoke all on schema bus_internal from public, anon, authenticated, service_role;
comment on schema bus_internal is 'bus: helpers of its functions; not for clients';

-- PostgREST answers with the raw bytes of a function that returns this.
do $$
begin
  create domain public."application/octet-stream" as bytea;
exception
  when duplicate_object then null;
end $$;

create table if not exists public.message_bus (
  -- As in the original.
  id uuid primary key default gen_random_uuid(),
  transaction_id text not null,
  session_id text not null,
  tool_name text not null,
  provider_name text not null,
  payload bytea,
  payload_size_bytes bigint not null default 0,
  compression_type text not null,
  compressed_size_bytes bigint,
  checksum text,
  status text not null,
  error_message text,
  created_at timestamptz not null default date_trunc('milliseconds', now()),
  accessed_at timestamptz not null default date_trunc('milliseconds', now()),
  expires_at timestamptz not null,
  metadata json not null default '{}'::json,
  -- Ours.
  principal text not null,
  content_type text not null,
  priority text not null default 'normal',
  format_version integer not null,
  chunk_count integer not null default 0,
  chunk_size_bytes bigint not null,
  encoded_sha256 text,
  manifest bytea,
  manifest_sha256 text,
  acknowledged_at timestamptz,
  lease_expires_at timestamptz,
  encryption text,
  key_id text,
  -- Of the writer.
  upload_token uuid not null,
  lease_ms bigint not null,
  ttl_ms bigint not null,
  expected_sha256 text,
  expected_size_bytes bigint,

  constraint message_bus_key unique (principal, transaction_id),
  constraint message_bus_transaction_id_legal check (
    transaction_id ~ '^[A-Za-z0-9._-]{1,128}$' and transaction_id not in ('.', '..')),
  constraint message_bus_principal_legal check (principal ~ '^[!-~]{1,128}$'),
  constraint message_bus_names_legal check (
    octet_length(session_id) between 1 and 256
    and octet_length(tool_name) between 1 and 256
    and octet_length(provider_name) between 1 and 256
    and octet_length(content_type) between 1 and 256),
  constraint message_bus_status_legal check (status in ('pending', 'complete', 'error')),
  constraint message_bus_compression_legal check (compression_type in ('none', 'gzip', 'zstd')),
  constraint message_bus_priority_legal check (priority in ('urgent', 'normal', 'bulk')),
  constraint message_bus_sizes_legal check (
    payload_size_bytes >= 0 and compressed_size_bytes >= 0 and chunk_count >= 0
    and chunk_size_bytes > 0 and expected_size_bytes >= 0 and ttl_ms > 0 and lease_ms >= 0),
  constraint message_bus_digests_legal check (
    checksum ~ '^[0-9a-f]{64}$' and encoded_sha256 ~ '^[0-9a-f]{64}$'
    and manifest_sha256 ~ '^[0-9a-f]{64}$' and expected_sha256 ~ '^[0-9a-f]{64}$'),
  constraint message_bus_metadata_legal check (json_typeof(metadata) = 'object'),
  -- What is complete is whole; what is pending has a lease.
  constraint message_bus_whole check (
    case status
      when 'complete' then checksum is not null and compressed_size_bytes is not null
        and encoded_sha256 is not null and manifest is not null and manifest_sha256 is not null
        and chunk_count > 0 and lease_expires_at is null
      when 'pending' then lease_expires_at is not null and payload is null and manifest is null
      else payload is null and manifest is null and lease_expires_at is null
    end)
);

-- Bodies are compressed already.
alter table public.message_bus alter column payload set storage external;

comment on table public.message_bus is 'bus: one row a message; written by the bus_* functions only';
comment on column public.message_bus.payload is
  'stored bytes (encoded as compression_type says) of a message of one chunk that was put in one round trip; else null, see message_bus_chunks';
comment on column public.message_bus.checksum is 'SHA-256 of the original payload, hexadecimal';
comment on column public.message_bus.manifest is 'binary manifest: encoding, sizes and the digest of each chunk';
comment on column public.message_bus.upload_token is 'fence of the last writer: its capability to go on writing';

create index if not exists idx_message_bus_transaction_id on public.message_bus (transaction_id);
create index if not exists idx_message_bus_session_id on public.message_bus (session_id);
create index if not exists idx_message_bus_status on public.message_bus (status);
create index if not exists idx_message_bus_expires_at on public.message_bus (expires_at);
create index if not exists idx_message_bus_page on public.message_bus (principal, created_at, id);
create index if not exists idx_message_bus_session_page
  on public.message_bus (principal, session_id, created_at, id);
create index if not exists idx_message_bus_tool_page
  on public.message_bus (principal, tool_name, created_at, id);
create index if not exists idx_message_bus_acknowledged_at
  on public.message_bus (acknowledged_at) where acknowledged_at is not null;

create table if not exists public.message_bus_chunks (
  message_id uuid not null references public.message_bus (id) on delete cascade,
  seq integer not null,
  stored_bytes integer not null,
  sha256 text not null,
  body bytea not null,
  primary key (message_id, seq),
  constraint message_bus_chunks_seq_legal check (seq >= 0),
  constraint message_bus_chunks_size_true check (stored_bytes = octet_length(body)),
  constraint message_bus_chunks_sha256_legal check (sha256 ~ '^[0-9a-f]{64}$')
);

alter table public.message_bus_chunks alter column body set storage external;

comment on table public.message_bus_chunks is
  'bus: stored bytes of messages, a row a chunk; immutable once the message is complete';

-- What is committed never changes, whoever asks: not its chunks, and not what its record says of them. Deleting the
-- message takes its chunks along. The lock makes a commit wait for whoever is writing a chunk at that moment, and the
-- other way round.
create or replace function bus_internal.refuse_committed_chunk() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op <> 'INSERT' and exists (
    select from public.message_bus m where m.id = old.message_id and m.status = 'complete'
  ) then
    raise sqlstate 'PT409' using
      message = 'committed',
      detail = 'a chunk of a complete message never changes: delete the message';
  end if;
  if tg_op = 'DELETE' then
    return old;
  end if;
  perform from public.message_bus m where m.id = new.message_id and m.status = 'pending' for key share;
  if not found then
    raise sqlstate 'PT409' using
      message = 'lease_lost',
      detail = 'a chunk can be written only while its message is pending';
  end if;
  return new;
end $$;

create or replace trigger refuse_committed_chunk
  before insert or update or delete on public.message_bus_chunks
  for each row execute function bus_internal.refuse_committed_chunk();

create or replace function bus_internal.refuse_committed_body() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise sqlstate 'PT409' using
    message = 'committed',
    detail = 'the body of a complete message never changes: delete the message';
end $$;

-- Not for the columns that are stamped later, so that a stamp costs nothing here.
create or replace trigger refuse_committed_body
  before update of id, status, payload, payload_size_bytes, compression_type, compressed_size_bytes, checksum,
    format_version, chunk_count, chunk_size_bytes, encoded_sha256, manifest, manifest_sha256
  on public.message_bus
  for each row when (old.status = 'complete') execute function bus_internal.refuse_committed_body();

alter table public.message_bus enable row level security;
alter table public.message_bus_chunks enable row level security;

revoke all on public.message_bus, public.message_bus_chunks
  from public, anon, authenticated, service_role;
grant select on public.message_bus, public.message_bus_chunks to authenticated;
-- The clean-up statement of the original works for the service role, as it stands.
grant select, delete on public.message_bus, public.message_bus_chunks to service_role;

-- A user sees its own messages until they expire. No policy lets anybody write, whatever is granted.
drop policy if exists message_bus_own on public.message_bus;
create policy message_bus_own on public.message_bus for select to authenticated
  using (
    (status <> 'complete' or expires_at > now())
    and principal = (
      select nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub'));

drop policy if exists message_bus_chunks_own on public.message_bus_chunks;
create policy message_bus_chunks_own on public.message_bus_chunks for select to authenticated
  using (exists (
    select from public.message_bus m
    where m.id = message_id
      and m.status = 'complete'
      and m.expires_at > now()
      and m.principal = (
        select nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub')));
