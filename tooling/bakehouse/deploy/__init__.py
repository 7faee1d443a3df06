"""Carry migrations to an environment: gather facts, pass the gates, apply, record."""
