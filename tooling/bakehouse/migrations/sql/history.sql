-- The history table of the Supabase CLI, and the tables of bakehouse.
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (
  version text not null primary key,
  statements text[],
  name text
);
alter table supabase_migrations.schema_migrations
add column if not exists statements text[], -- the oldest CLIs create the table without them
add column if not exists name text;

create schema if not exists bakehouse;
create table if not exists bakehouse.migrations (
  version text primary key,
  name text not null,
  sql_hash text not null,
  byte_hash text not null,
  applied_at timestamptz not null default clock_timestamp(),
  applied_by text not null default session_user,
  duration_ms integer not null,
  tool_version text not null,
  git_commit text,
  -- adopted: another tool ran the file, and its objects were compared; unproven: none to compare
  how text not null default 'applied' check (how in ('applied', 'adopted', 'unproven')),
  reason text
);
create table if not exists bakehouse.steps (
  version text not null,
  ordinal integer not null,
  sql_hash text not null,
  index_name text, -- the index that the step makes or drops, with its schema
  done boolean not null default false,
  started_at timestamptz not null default clock_timestamp(),
  primary key (version, ordinal)
);
alter table bakehouse.steps add column if not exists index_name text;
create table if not exists bakehouse.repairs (
  id bigint generated always as identity primary key,
  repaired_at timestamptz not null default clock_timestamp(),
  repaired_by text not null default session_user,
  action text not null,
  version text not null,
  detail jsonb not null
);
create table if not exists bakehouse.backups (
  number bigint generated always as identity primary key,
  file text not null unique,
  facts jsonb not null,
  objects jsonb not null
);
-- What the files left in the database: the hash of each object. Each file moves this row by the
-- difference that the file makes, so everything else that differs is drift.
create table if not exists bakehouse.baseline (
  only_row boolean primary key default true check (only_row),
  chain_head text,
  objects jsonb not null,
  moved_at timestamptz not null default clock_timestamp()
);
-- The SQL of each object of the baseline, to show what drift has changed.
create table if not exists bakehouse.definitions (
  object text not null,
  hash text not null,
  definition text not null,
  statement text,
  primary key (object, hash)
);
create table if not exists bakehouse.accepted_drift (
  object text primary key,
  hash text, -- null if the object is gone
  reason text not null,
  until date not null,
  accepted_by text not null default session_user,
  accepted_at timestamptz not null default clock_timestamp()
);
-- The record of every run. One entry opens a run before its first change, another entry closes it.
-- Each entry is hashed with the one before it, so that an edit or a deletion shows.
create table if not exists bakehouse.evidence (
  number bigint generated always as identity primary key,
  previous text not null unique,
  hash text not null unique,
  body json not null -- not jsonb, because the hash is of the exact text
);
alter table bakehouse.migrations enable row level security;
alter table bakehouse.steps enable row level security;
alter table bakehouse.repairs enable row level security;
alter table bakehouse.backups enable row level security;
alter table bakehouse.baseline enable row level security;
alter table bakehouse.definitions enable row level security;
alter table bakehouse.accepted_drift enable row level security;
alter table bakehouse.evidence enable row level security;
