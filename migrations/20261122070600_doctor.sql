-- bus: what `bus doctor` asks: what is there, whether it is as this schema wants it, and how it goes.
--
-- The inventory names every object with a text that says what it is; the program compares it with the one that was
-- made of these migrations. Each part stands alone: where a table or a function is missing, the part that needs it
-- says so, and the others answer all the same. Nothing here changes anything, and counting is bounded in time.

-- The tables of ours: those that are named, else all of the schema `public`.
create or replace function bus_internal.doctor_tables(named json) returns oid[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(c.oid order by c.relname), '{}')
  from pg_catalog.pg_class c
  where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
    and (named is null or c.relname in (select json_array_elements_text(named)))
    and not exists (select from pg_catalog.pg_depend d
      where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
$$;

create or replace function bus_internal.doctor_functions() returns oid[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(p.oid), '{}')
  from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
  where n.nspname = 'bus_internal' or (n.nspname = 'public' and p.proname like 'bus\_%')
$$;

-- A function as it is called: names of arguments are left out, as grants and drops want it.
create or replace function bus_internal.doctor_signature(f oid) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select format('%I.%I(%s)', n.nspname, p.proname, (
      select string_agg(format_type(a.type, null), ',' order by a.place)
      from unnest(p.proargtypes::oid[]) with ordinality a (type, place)))
  from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace where p.oid = f
$$;

create or replace function bus_internal.doctor_role(r oid) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select case when r = 0 then 'public' else pg_get_userbyid(r)::text end
$$;

-- Tables and what hangs on them: kind, name, and a text that says what it is.
create or replace function bus_internal.doctor_relations(tables oid[])
returns table (kind text, name text, definition text)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select 'table', 'public.' || c.relname,
    case c.relkind when 'r' then 'table' when 'p' then 'partitioned table' else 'view or foreign table' end
  from pg_catalog.pg_class c where c.oid = any (tables)
  union all
  select 'row level security', 'public.' || c.relname,
    case when not c.relrowsecurity then 'off' when c.relforcerowsecurity then 'forced' else 'on' end
  from pg_catalog.pg_class c where c.oid = any (tables)
  union all
  select 'column', format('public.%s.%s', c.relname, a.attname),
    concat_ws(' ', format_type(a.atttypid, a.atttypmod),
      case when a.attnotnull then 'not null' end,
      'default ' || pg_get_expr(d.adbin, d.adrelid),
      case when a.attidentity <> '' then 'identity' end,
      case when a.attgenerated <> '' then 'generated' end,
      case when a.attstorage = 'e' then 'storage external' end)
  from pg_catalog.pg_class c
  join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where c.oid = any (tables)
  union all
  -- Those of constraints come with their constraints.
  select 'index', 'public.' || x.relname,
    case when i.indisvalid then '' else 'not valid: ' end || pg_get_indexdef(i.indexrelid)
  from pg_catalog.pg_index i join pg_catalog.pg_class x on x.oid = i.indexrelid
  where i.indrelid = any (tables)
    and not exists (select from pg_catalog.pg_constraint k
      where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x'))
  union all
  -- 'n' is what PostgreSQL 18 calls a column that is not null.
  select 'constraint', format('public.%s.%s', c.relname, k.conname), pg_get_constraintdef(k.oid)
  from pg_catalog.pg_constraint k join pg_catalog.pg_class c on c.oid = k.conrelid
  where k.conrelid = any (tables) and k.contype <> 'n'
  union all
  select 'trigger', format('public.%s.%s', c.relname, t.tgname),
    case t.tgenabled when 'D' then 'disabled: ' else '' end || pg_get_triggerdef(t.oid)
  from pg_catalog.pg_trigger t join pg_catalog.pg_class c on c.oid = t.tgrelid
  where t.tgrelid = any (tables) and not t.tgisinternal
  union all
  select 'policy', format('public.%s.%s', c.relname, p.polname),
    concat_ws(' ', case when p.polpermissive then 'permissive' else 'restrictive' end,
      case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete'
        else 'all' end,
      'to', (select string_agg(bus_internal.doctor_role(r), ', ' order by bus_internal.doctor_role(r))
        from unnest(p.polroles) r),
      'using ' || pg_get_expr(p.polqual, p.polrelid),
      'with check ' || pg_get_expr(p.polwithcheck, p.polrelid))
  from pg_catalog.pg_policy p join pg_catalog.pg_class c on c.oid = p.polrelid
  where p.polrelid = any (tables)
$$;

-- Functions, types and roles.
create or replace function bus_internal.doctor_routines(functions oid[])
returns table (kind text, name text, definition text)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select 'function', bus_internal.doctor_signature(p.oid),
    concat_ws(' ', 'returns', pg_get_function_result(p.oid), 'language', l.lanname,
      case p.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end,
      case when p.proisstrict then 'strict' end,
      case when p.prosecdef then 'security definer' else 'security invoker' end,
      -- The arguments' names belong to what PostgREST matches calls by.
      'arguments (' || pg_get_function_arguments(p.oid) || ')',
      'settings ' || (select string_agg(s, ', ' order by s) from unnest(p.proconfig) s),
      'body ' || md5(p.prosrc))
  from pg_catalog.pg_proc p join pg_catalog.pg_language l on l.oid = p.prolang
  where p.oid = any (functions)
  union all
  select 'type', format('public.%I', t.typname), format_type(t.typbasetype, t.typtypmod)
  from pg_catalog.pg_type t
  where t.typnamespace = 'public'::regnamespace and t.typname = 'application/octet-stream'
  union all
  -- Who may look past row level security.
  select 'role', r.rolname, case when r.rolsuper or r.rolbypassrls then 'bypasses' else 'obeys' end
    || ' row level security'
  from pg_catalog.pg_roles r where r.rolname in ('anon', 'authenticated', 'service_role')
$$;

-- What was granted to the three roles of clients and to everybody.
create or replace function bus_internal.doctor_grants(tables oid[], functions oid[])
returns table (kind text, name text, definition text)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select 'grant', format('%s to %s', acl.object, bus_internal.doctor_role(acl.grantee)),
    string_agg(distinct acl.privilege_type, ', ' order by acl.privilege_type)
  from (
    select 'table public.' || c.relname as object, g.grantee, g.privilege_type
    from pg_catalog.pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) g
    where c.oid = any (tables)
    union all
    select format('column public.%s.%s', c.relname, a.attname), g.grantee, g.privilege_type
    from pg_catalog.pg_class c
    join pg_catalog.pg_attribute a on a.attrelid = c.oid, aclexplode(a.attacl) g
    where c.oid = any (tables)
    union all
    select 'function ' || bus_internal.doctor_signature(p.oid), g.grantee, g.privilege_type
    from pg_catalog.pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) g
    where p.oid = any (functions)
    union all
    select 'schema bus_internal', g.grantee, g.privilege_type
    from pg_catalog.pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) g
    where n.nspname = 'bus_internal'
    union all
    -- Of the schema `public`, which others use too, only what clients need.
    select 'schema public', r.oid, 'USAGE'
    from pg_catalog.pg_roles r
    where r.rolname in ('authenticated', 'service_role') and has_schema_privilege(r.oid, 'public', 'usage')
  ) acl
  where bus_internal.doctor_role(acl.grantee) in ('public', 'anon', 'authenticated', 'service_role')
  group by acl.object, acl.grantee
$$;

-- {kind: {name: definition}}, in order.
create or replace function bus_internal.doctor_inventory(named json) returns json
language sql stable set search_path = pg_catalog, pg_temp as $$
  with scope as materialized (
    select bus_internal.doctor_tables(named) as tables, bus_internal.doctor_functions() as functions
  ), found as (
    select f.* from scope s, bus_internal.doctor_relations(s.tables) f
    union all
    select f.* from scope s, bus_internal.doctor_routines(s.functions) f
    union all
    select f.* from scope s, bus_internal.doctor_grants(s.tables, s.functions) f
  ), kinds as (
    select f.kind, json_object_agg(f.name, f.definition order by f.name collate "C") as items
    from found f group by f.kind
  )
  select json_object_agg(k.kind, k.items order by k.kind collate "C") from kinds k
$$;

-- The job that purges: {available, installed, readable, job: {schedule, active}?, last: {status, message, start_ms}?}.
create or replace function bus_internal.doctor_purge_job() returns json
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  installed boolean := exists (select from pg_catalog.pg_extension e where e.extname = 'pg_cron');
  available boolean := exists (select from pg_catalog.pg_available_extensions e where e.name = 'pg_cron');
  job json;
  last json;
begin
  if not installed then
    return json_build_object('available', available, 'installed', false);
  end if;
  begin
    execute 'select json_build_object(''id'', j.jobid, ''schedule'', j.schedule, ''active'', j.active)
      from cron.job j where j.jobname = ''bus-purge'' and j.database = current_database()
      order by j.active desc limit 1' into job;
    execute 'select json_build_object(''status'', d.status, ''message'', left(d.return_message, 500),
        ''start_ms'', bus_internal.to_ms(d.start_time))
      from cron.job_run_details d where d.jobid = $1 order by d.runid desc limit 1'
      into last using (job ->> 'id')::bigint;
  exception
    when insufficient_privilege or undefined_table or undefined_column or invalid_schema_name then
      return json_build_object('available', available, 'installed', true, 'readable', false);
  end;
  return json_build_object('available', available, 'installed', true, 'readable', true, 'job', job, 'last', last);
end $$;

-- The versions of the migrations that were applied, the project's own among them; null where nobody keeps a history.
create or replace function bus_internal.doctor_steps() returns json
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  versions json;
begin
  if to_regclass('supabase_migrations.schema_migrations') is null then
    return null;
  end if;
  execute 'select coalesce(json_agg(m.version), ''[]''::json)
    from (select version from supabase_migrations.schema_migrations order by version desc limit 1000) m' into versions;
  return versions;
end $$;

-- How long a statement may run: milliseconds, 0 is without end; by role where one says it.
create or replace function bus_internal.doctor_timeouts() returns json
language sql stable set search_path = pg_catalog, pg_temp as $$
  select json_build_object(
    'call', (select s.setting::bigint from pg_catalog.pg_settings s where s.name = 'statement_timeout'),
    'roles', (
      select json_object_agg(bus_internal.doctor_role(d.setrole), split_part(c, '=', 2))
      from pg_catalog.pg_db_role_setting d, unnest(d.setconfig) c
      where c like 'statement\_timeout=%'
        and d.setdatabase in (0, (select o.oid from pg_catalog.pg_database o where o.datname = current_database()))
        and bus_internal.doctor_role(d.setrole) in ('anon', 'authenticated', 'service_role', 'authenticator')))
$$;

-- Counts, newest first, until all are counted or the time is up:
--   {counted, all, pending, complete, error, expired, torn, tools: [{tool, messages, bytes, stored_bytes}]}
-- Torn is a complete message whose chunks are not as many as its record says.
create or replace function bus_internal.doctor_rows(owner text, budget_ms bigint) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan as $$
declare
  begun timestamptz := clock_timestamp();
  at timestamptz := bus_internal.instant();
  last uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
  total bigint[] := '{0,0,0,0,0,0}';
  part record;
  tools jsonb := '{}';
  finished boolean := false;
begin
  while not finished and clock_timestamp() < begun + budget_ms * interval '1 millisecond' loop
    with page as materialized (select * from bus_internal.doctor_page(owner, last))
    select count(*) as counted,
      count(*) filter (where p.status = 'pending') as pending,
      count(*) filter (where p.status = 'complete' and p.expires_at > at) as complete,
      count(*) filter (where p.status = 'error') as error,
      count(*) filter (where p.status = 'complete' and p.expires_at <= at) as expired,
      count(*) filter (where p.status = 'complete' and p.apart and p.chunk_count <> (
        select count(*) from public.message_bus_chunks c where c.message_id = p.id)) as torn,
      (select x.id from page x order by x.id limit 1) as lowest,
      (select jsonb_agg(t) from (
        select x.tool_name as tool, count(*) as messages, sum(x.payload_size_bytes) as bytes,
          sum(x.compressed_size_bytes) as stored_bytes
        from page x where x.status = 'complete' and x.created_at > at - interval '24 hours'
        group by x.tool_name) t) as tools
      into part from page p;
    total := array[total[1] + part.counted, total[2] + part.pending, total[3] + part.complete,
      total[4] + part.error, total[5] + part.expired, total[6] + part.torn];
    tools := bus_internal.doctor_add_tools(tools, part.tools);
    -- Of one owner there is one page.
    finished := part.counted < case when owner is null then 5000 else 20000 end;
    exit when owner is not null;
    -- The id before it, so that no row is counted twice.
    last := bus_internal.doctor_before(part.lowest);
  end loop;
  return json_build_object('counted', total[1], 'all', finished, 'pending', total[2], 'complete', total[3],
    'error', total[4], 'expired', total[5], 'torn', total[6], 'tools', (
      select coalesce(json_agg(t.value order by (t.value ->> 'messages')::bigint desc, t.key), '[]'::json)
      from jsonb_each(tools) t));
end $$;

-- The next rows to count: of everybody by id, of one owner the newest.
create or replace function bus_internal.doctor_page(owner text, last uuid)
returns table (id uuid, status text, expires_at timestamptz, created_at timestamptz, tool_name text,
  payload_size_bytes bigint, compressed_size_bytes bigint, chunk_count integer, apart boolean)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
  if owner is null then
    return query select m.id, m.status, m.expires_at, m.created_at, m.tool_name, m.payload_size_bytes,
        m.compressed_size_bytes, m.chunk_count, m.payload is null
      from public.message_bus m where m.id <= last order by m.id desc limit 5000;
  else
    return query select m.id, m.status, m.expires_at, m.created_at, m.tool_name, m.payload_size_bytes,
        m.compressed_size_bytes, m.chunk_count, m.payload is null
      from public.message_bus m where m.principal = owner
      order by m.created_at desc, m.id desc limit 20000;
  end if;
end $$;

create or replace function bus_internal.doctor_add_tools(held jsonb, more jsonb) returns jsonb
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select coalesce(jsonb_object_agg(s.tool, to_jsonb(s)), '{}') from (
    select t ->> 'tool' as tool, sum((t ->> 'messages')::bigint) as messages, sum((t ->> 'bytes')::bigint) as bytes,
      sum((t ->> 'stored_bytes')::bigint) as stored_bytes
    from (select h.value as t from jsonb_each(held) h union all select m from jsonb_array_elements(more) m) as parts
    group by t ->> 'tool' order by 2 desc limit 200) s
$$;

-- The id just below.
create or replace function bus_internal.doctor_before(id uuid) returns uuid
language plpgsql immutable strict set search_path = pg_catalog, pg_temp as $$
declare
  bytes bytea := uuid_send(id);
begin
  for place in reverse 15..0 loop
    if get_byte(bytes, place) > 0 then
      return encode(set_byte(bytes, place, get_byte(bytes, place) - 1), 'hex')::uuid;
    end if;
    bytes := set_byte(bytes, place, 255);
  end loop;
  return null;
end $$;

-- What waits for a purge, by indexes, each count at most 10001:
--   {expired, expired_since_ms, orphaned, orphaned_since_ms, failed, stray_chunks}
-- Stray is a chunk whose message is gone, or which its complete message does not count; of the newest 100,000 chunks.
create or replace function bus_internal.doctor_leftovers(owner text) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan as $$
declare
  at timestamptz := bus_internal.instant();
  over timestamptz := bus_internal.from_ms(bus_internal.to_ms(at) - bus_internal.read_grace_ms());
begin
  return (
    with expired as (select m.expires_at from public.message_bus m
        where m.expires_at <= over and m.status = 'complete' and (owner is null or m.principal = owner)
        order by m.expires_at limit 10001),
      orphaned as (select m.lease_expires_at from public.message_bus m
        where m.status = 'pending' and m.lease_expires_at <= at and (owner is null or m.principal = owner)
        limit 10001),
      failed as (select from public.message_bus m
        where m.status = 'error' and m.expires_at <= at and (owner is null or m.principal = owner) limit 10001),
      stray as (select from (
          select c.message_id, c.seq from public.message_bus_chunks c
          order by c.message_id desc, c.seq desc limit 100000) c
        left join public.message_bus m on m.id = c.message_id
        where m.id is null or (m.status = 'complete' and (c.seq >= m.chunk_count or m.payload is not null))
        limit 10001)
    select json_build_object(
      'expired', (select count(*) from expired),
      'expired_since_ms', (select bus_internal.to_ms(min(e.expires_at)) from expired e),
      'orphaned', (select count(*) from orphaned),
      'orphaned_since_ms', (select bus_internal.to_ms(min(o.lease_expires_at)) from orphaned o),
      'failed', (select count(*) from failed),
      'stray_chunks', case when owner is null then (select count(*) from stray) end));
end $$;

-- Bytes: {database, tables: {name: bytes}}, and how many messages the planner believes there are.
create or replace function bus_internal.doctor_sizes(named json) returns json
language sql stable set search_path = pg_catalog, pg_temp as $$
  select json_build_object(
    'database', pg_database_size(current_database()),
    'messages_estimated', (select greatest(c.reltuples, 0)::bigint from pg_catalog.pg_class c
      where c.oid = to_regclass('public.message_bus')),
    'tables', (select json_object_agg('public.' || c.relname, pg_total_relation_size(c.oid) order by c.relname)
      from pg_catalog.pg_class c where c.oid = any (bus_internal.doctor_tables(named))))
$$;

-- All of it: {tables: [names of ours]?, budget_ms?}. For a user, only what is that user's.
--   ok {scope: all | own, server_ms, server_version, schema_version, read_only, timeouts, and where scope is `all`:
--   inventory, steps, purge_job, sizes; rows, leftovers}; a part that cannot be answered is {error}.
create or replace function public.bus_doctor(request text default '{}') returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  r json := request::json;
  owner text := bus_internal.scope();
  budget bigint := least(greatest(coalesce((r ->> 'budget_ms')::bigint, 2000), 0), 30000);
  parts text[] := array['rows', 'leftovers', 'timeouts']
    || case when owner is null then array['inventory', 'steps', 'purge_job', 'sizes'] else array[]::text[] end;
  part text;
  found json;
  answer jsonb := jsonb_build_object(
    'outcome', 'ok',
    'scope', case when owner is null then 'all' else 'own' end,
    'server_ms', (extract(epoch from clock_timestamp()) * 1000)::bigint,
    'server_version', current_setting('server_version'),
    'read_only', current_setting('default_transaction_read_only')::boolean or pg_is_in_recovery());
begin
  if to_regprocedure('bus_internal.schema_version()') is not null then
    answer := answer || jsonb_build_object('schema_version', bus_internal.schema_version());
  end if;
  foreach part in array parts loop
    begin
      found := case part
        when 'inventory' then bus_internal.doctor_inventory(r -> 'tables')
        when 'steps' then bus_internal.doctor_steps()
        when 'purge_job' then bus_internal.doctor_purge_job()
        when 'sizes' then bus_internal.doctor_sizes(r -> 'tables')
        when 'timeouts' then bus_internal.doctor_timeouts()
        when 'rows' then bus_internal.doctor_rows(owner, budget)
        when 'leftovers' then bus_internal.doctor_leftovers(owner)
      end;
    exception
      when others then found := json_build_object('error', sqlerrm);
    end;
    answer := answer || jsonb_build_object(part, found);
  end loop;
  return answer::text;
end $$;

revoke all on all functions in schema bus_internal from public, anon, authenticated, service_role;
revoke all on function public.bus_doctor(text) from public, anon;
grant execute on function public.bus_doctor(text) to authenticated, service_role;

notify pgrst, 'reload schema';
