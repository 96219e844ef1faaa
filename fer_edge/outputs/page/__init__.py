"""The page: a live view of a run in a browser, and its API. docs/page.md and docs/api.md explain both.

Only :mod:`.address` and :mod:`.token` can be imported without the extra ``page``.
"""
