"""The dev server, and the Supabase features that plain Postgres lacks."""
