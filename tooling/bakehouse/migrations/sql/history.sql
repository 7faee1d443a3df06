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
  git_commit text
);
create table if not exists bakehouse.steps (
  version text not null,
  ordinal integer not null,
  sql_hash text not null,
  done boolean not null default false,
  started_at timestamptz not null default clock_timestamp(),
  primary key (version, ordinal)
);
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
create table if not exists bakehouse.snapshots (
  chain_head text primary key,
  taken_at timestamptz not null default clock_timestamp(),
  objects jsonb not null
);
-- The record of every run. One entry opens a run before its first change, another entry closes it.
-- Each entry is hashed with the one before it, so that an edit or a deletion shows.
create table if not exists bakehouse.evidence (
  number bigint generated always as identity primary key,
  previous text not null unique,
  hash text not null unique,
  body json not null, -- not jsonb, because the hash is of the exact text
  signer text not null default '', -- what the signature says, for people
  signature text not null default '' -- of the hash
);
alter table bakehouse.migrations enable row level security;
alter table bakehouse.steps enable row level security;
alter table bakehouse.repairs enable row level security;
alter table bakehouse.backups enable row level security;
alter table bakehouse.snapshots enable row level security;
alter table bakehouse.evidence enable row level security;
