"""A Postgres server of our own, and what plain Postgres lacks of Supabase."""
