"""Jobs over REST (`/api/v1/`): the same credentials and the same rules as at the MCP endpoint."""
