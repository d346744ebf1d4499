"""The database: its tables, its clock, and the means to read and write it."""
