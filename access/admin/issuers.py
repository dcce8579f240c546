"""Outside issuers in the admin."""
