-- bus: user preferences: JSON values of a principal, by name. One is typed: `timezone`, an IANA name, which clients check.
--
-- The wire is that of the messages. Values travel as JSON within a JSON string and are kept as json, so that they come
-- back as they were written: the order of keys, 1.0, \u0000.

create table if not exists public.user_preferences (
  principal text not null,
  name text collate "C" not null,
  value json not null,
  updated_at timestamptz not null default date_trunc('milliseconds', now()),

  constraint user_preferences_key primary key (principal, name),
  constraint user_preferences_principal_legal check (principal ~ '^[!-~]{1,128}$'),
  constraint user_preferences_name_legal check (name ~ '^[A-Za-z0-9._-]{1,128}$'),
  constraint user_preferences_value_bounded check (octet_length(value::text) <= 65536),
  constraint user_preferences_timezone_legal check (
    name <> 'timezone'
    or (json_typeof(value) = 'string' and value #>> '{}' ~ '^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$'))
);

comment on table public.user_preferences is 'bus: one row a preference of a principal; written by bus_prefs_set only';

alter table public.user_preferences enable row level security;
revoke all on public.user_preferences from public, anon, authenticated, service_role;
grant select on public.user_preferences to authenticated;
grant select, delete on public.user_preferences to service_role;

drop policy if exists user_preferences_own on public.user_preferences;
create policy user_preferences_own on public.user_preferences for select to authenticated
  using (principal = (
    select nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub'));

-- A preference as it travels.
create or replace function bus_internal.preference(p public.user_preferences) returns json
language sql stable set search_path = pg_catalog, pg_temp as $$
  select json_build_object(
    'name', p.name, 'value', p.value::text, 'updated_ms', bus_internal.to_ms(p.updated_at))
$$;

-- One preference: {principal, name}.   ok {preference} | not_found
create or replace function public.bus_prefs_get(request text) returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  r json := request::json;
  owner text := bus_internal.principal(r ->> 'principal');
  wanted text := r ->> 'name';
  p public.user_preferences;
begin
  select * into p from public.user_preferences t where t.principal = owner and t.name = wanted;
  if not found then
    return bus_internal.outcome('not_found');
  end if;
  return json_build_object('outcome', 'ok', 'preference', bus_internal.preference(p))::text;
end $$;

-- Sets a preference, whatever was there: {principal, name, value (JSON within a string)}.   ok {updated_ms}
create or replace function public.bus_prefs_set(request text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  r json := request::json;
  at timestamptz := bus_internal.instant();
begin
  insert into public.user_preferences as p (principal, name, value, updated_at)
    values (bus_internal.principal(r ->> 'principal'), r ->> 'name', (r ->> 'value')::json, at)
    on conflict (principal, name) do update set value = excluded.value, updated_at = excluded.updated_at;
  return json_build_object('outcome', 'ok', 'updated_ms', bus_internal.to_ms(at))::text;
end $$;

-- Removes a preference: {principal, name}.   ok | not_found
create or replace function public.bus_prefs_delete(request text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  r json := request::json;
  owner text := bus_internal.principal(r ->> 'principal');
  wanted text := r ->> 'name';
begin
  delete from public.user_preferences p where p.principal = owner and p.name = wanted;
  return bus_internal.outcome(case when found then 'ok' else 'not_found' end);
end $$;

-- A page of preferences by name: {principal, after?, limit}; at most 100.   ok {preferences, more}
create or replace function public.bus_prefs_list(request text) returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  r json := request::json;
  owner text := bus_internal.principal(r ->> 'principal');
  after text := r ->> 'after';
  most integer := least(greatest((r ->> 'limit')::bigint, 1), 100);
  given json;
  count bigint;
begin
  select coalesce(json_agg(page.preference order by page.place) filter (where page.place <= most), '[]'::json), count(*)
    into given, count
    from (
      select bus_internal.preference(p) as preference, row_number() over (order by p.name) as place
      from public.user_preferences p
      where p.principal = owner and (after is null or p.name > after)
      order by p.name
      limit most + 1
    ) page;
  return json_build_object('outcome', 'ok', 'preferences', given, 'more', count > most)::text;
end $$;

revoke all on function bus_internal.preference(public.user_preferences)
  from public, anon, authenticated, service_role;
revoke all on function public.bus_prefs_get(text), public.bus_prefs_set(text), public.bus_prefs_delete(text),
  public.bus_prefs_list(text) from public, anon;
grant execute on function public.bus_prefs_get(text), public.bus_prefs_set(text), public.bus_prefs_delete(text),
  public.bus_prefs_list(text) to authenticated, service_role;

notify pgrst, 'reload schema';
