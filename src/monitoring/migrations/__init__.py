"""The monitoring database's changes, run by Alembic."""
