-- All that a schema is made of, one line a thing, but for what belongs to an extension.
with spaces as (
  select oid, nspname, nspacl, nspowner from pg_namespace where nspname in ('public', 'bus_internal')
), relations as (
  select c.*, format('%s.%s', s.nspname, c.relname) as shown from pg_class c join spaces s on s.oid = c.relnamespace
  where not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
), functions as (
  select p.*, p.oid::regprocedure::text as shown from pg_proc p join spaces s on s.oid = p.pronamespace
), rights as (
  select 'right on schema' as kind, nspname::text as thing, coalesce(nspacl, acldefault('n', nspowner)) as acl, nspowner as owner
    from spaces where nspname <> 'public'
  union all
  select 'right on table', shown, coalesce(relacl, acldefault('r', relowner)), relowner from relations where relkind in ('r', 'p')
  union all
  select 'right on function', shown, coalesce(proacl, acldefault('f', proowner)), proowner from functions
)
select 'table' as kind, shown as thing, concat_ws(' ', relkind, relrowsecurity, relforcerowsecurity, reloptions) as text
  from relations where relkind in ('r', 'p', 'v', 'S')
union all
select 'column', format('%s.%s', r.shown, a.attname), concat_ws(' ', a.attnum, format_type(a.atttypid, a.atttypmod),
    a.attnotnull, a.attstorage, pg_get_expr(d.adbin, d.adrelid))
  from relations r join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
  left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum where r.relkind in ('r', 'p')
union all
-- Without parentheses: reading a definition back flattens nested ANDs, which mean the same.
select 'constraint', format('%s.%s', r.shown, c.conname),
    concat_ws(' ', c.convalidated, translate(pg_get_constraintdef(c.oid), '()', ''))
  from relations r join pg_constraint c on c.conrelid = r.oid where c.contype <> 'n'
union all
select 'index', shown, pg_get_indexdef(oid) from relations where relkind = 'i'
union all
select 'policy', format('%s.%s', r.shown, p.polname), concat_ws(' | ', p.polcmd, p.polpermissive,
    p.polroles::regrole[]::text, pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
  from relations r join pg_policy p on p.polrelid = r.oid
union all
select 'trigger', format('%s.%s', r.shown, t.tgname), pg_get_triggerdef(t.oid)
  from relations r join pg_trigger t on t.tgrelid = r.oid where not t.tgisinternal
union all
select 'function', shown, pg_get_functiondef(oid) from functions
union all
select 'domain', t.oid::regtype::text, format_type(t.typbasetype, t.typtypmod)
  from pg_type t join spaces s on s.oid = t.typnamespace where t.typtype = 'd'
union all
select 'comment', d.classoid::regclass || ' ' || pg_describe_object(d.classoid, d.objoid, d.objsubid), d.description
  from pg_description d
  where (d.classoid = 'pg_class'::regclass and d.objoid in (select oid from relations))
     or (d.classoid = 'pg_proc'::regclass and d.objoid in (select oid from functions))
     or (d.classoid = 'pg_namespace'::regclass and d.objoid in (select oid from spaces where nspname <> 'public'))
union all
-- The owner is named, not shown, since it differs from server to server.
select r.kind, r.thing, concat_ws(' ', case when a.grantee = r.owner then 'owner'
    when a.grantee = 0 then 'public' else a.grantee::regrole::text end, a.privilege_type)
  from rights r cross join aclexplode(r.acl) a
order by 1, 2, 3
