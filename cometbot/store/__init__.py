"""The database: its tables, its clock, and how one reads and writes it."""
