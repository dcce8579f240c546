"""A worker process: its main thread claims jobs and watches over them, the tools run in an event loop beside it."""
