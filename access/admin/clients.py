"""Clients and admissions in the admin."""
