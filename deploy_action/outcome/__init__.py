"""The values of a run: each is returned by one stage, and all are put together by `run`."""
