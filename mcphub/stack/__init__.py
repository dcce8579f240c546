"""The whole hub on one machine: what `make run` starts, watches and stops.

`postgres` is the embedded database, `supervisor` keeps processes alive, `run` puts them together, `card` says how to
connect. Nothing here is needed in production, where DATABASE_URL names a database and something else keeps processes.
"""
