"""A small help desk with a REST API: tickets, search, comments and a slow report. See README.md beside this file."""
