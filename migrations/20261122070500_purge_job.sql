-- bus: the purge job: what may go goes every five minutes, through pg_cron where that is. A run is short, so a rarer one
-- would remove less than a busy project stores.
--
-- Elsewhere the daemon purges (BUS_PURGE_SECS), or whoever runs `bus purge`.

-- Removes all that may go, in bounded batches that pass over what somebody holds, until nothing is left or the time is
-- over; the rest goes next time. All of it is one transaction, so the time is short: a writer that wants a key which is
-- being purged waits until its end. For the owner and the service role.
--   {budget_ms? (5000), batch? (100), acknowledged_after_ms?, audit_older_than_ms?}
-- The audit log is kept for ever unless an age is named.
--   ok {expired, orphaned, failed, acknowledged, audit, freed_bytes, more}
create or replace function bus_internal.purge_all(request text default '{}') returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  r json := request::json;
  over timestamptz := clock_timestamp() + coalesce((r ->> 'budget_ms')::bigint, 5000) * interval '1 millisecond';
  batch bigint := coalesce((r ->> 'batch')::bigint, 100);
  audit_age bigint := (r ->> 'audit_older_than_ms')::bigint;
  done json;
  -- expired, orphaned, failed, acknowledged, freed_bytes
  sums bigint[] := '{0,0,0,0,0}';
  audit bigint := 0;
  more boolean;
begin
  loop
    done := public.bus_purge(json_build_object(
      'limit', batch, 'acknowledged_after_ms', (r ->> 'acknowledged_after_ms')::bigint)::text)::json;
    sums := array[
      sums[1] + (done ->> 'expired')::bigint, sums[2] + (done ->> 'orphaned')::bigint,
      sums[3] + (done ->> 'failed')::bigint, sums[4] + (done ->> 'acknowledged')::bigint,
      sums[5] + (done ->> 'freed_bytes')::bigint];
    more := (done ->> 'more')::boolean;
    exit when not more or clock_timestamp() >= over;
  end loop;
  while audit_age is not null and clock_timestamp() < over loop
    done := public.bus_audit_purge(json_build_object('limit', batch, 'older_than_ms', audit_age)::text)::json;
    audit := audit + (done ->> 'removed')::bigint;
    exit when not (done ->> 'more')::boolean;
    more := more or clock_timestamp() >= over;
  end loop;
  return json_build_object('outcome', 'ok', 'expired', sums[1], 'orphaned', sums[2], 'failed', sums[3],
    'acknowledged', sums[4], 'audit', audit, 'freed_bytes', sums[5], 'more', more)::text;
end $$;

-- Sees to it that the job is there; null where it is, else why it is not. A job that is there already stays as it is,
-- also where somebody changed its schedule or switched it off. `bus migrate` asks each time.
create or replace function bus_internal.schedule_purge() returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  instead constant text := 'a daemon that runs with this store purges hourly (BUS_PURGE_SECS), or run: bus purge';
  there boolean;
begin
  if not exists (select from pg_catalog.pg_available_extensions e where e.name = 'pg_cron') then
    return 'no purge job: this server has no pg_cron; ' || instead;
  end if;
  -- The job runs as whoever schedules it.
  if not exists (select from pg_catalog.pg_roles u
                 where u.rolname = current_user and (u.rolsuper or u.rolbypassrls)) then
    return format('no purge job: %s is neither superuser nor has BYPASSRLS; %s', current_user, instead);
  end if;
  begin
    if not exists (select from pg_catalog.pg_extension e where e.extname = 'pg_cron') then
      create extension pg_cron with schema pg_catalog;
    end if;
    execute 'select exists (select from cron.job j where j.jobname = ''bus-purge''
      and j.database = current_database())' into there;
    if not there then
      execute 'select cron.schedule(''bus-purge'', ''*/5 * * * *'', ''select bus_internal.purge_all()'')';
    end if;
  exception
    -- Whatever keeps pg_cron from working, the schema works without.
    when others then
      return format('no purge job: pg_cron cannot be used here: %s (turn it on: hosted Supabase, Integrations, Cron; '
        'else shared_preload_libraries and cron.database_name), then run bus migrate again; until then %s',
        sqlerrm, instead);
  end;
  return null;
end $$;

revoke all on function bus_internal.purge_all(text), bus_internal.schedule_purge()
  from public, anon, authenticated, service_role;

do $$
declare
  why_not text := bus_internal.schedule_purge();
begin
  if why_not is not null then
    raise notice 'bus: %', why_not;
  end if;
end $$;

notify pgrst, 'reload schema';
