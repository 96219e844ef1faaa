"""The store of a fleet: that of a device (:mod:`fer_edge.store.schema`), and what only a fleet needs."""

from __future__ import annotations

from collections.abc import Iterator

VERSION = 1
"""Of the tables below; the table ``fleet`` has it. It rises with any change that others would get wrong."""

CLOCKS = (
    "CREATE TABLE IF NOT EXISTS fleet_clock ("
    "clock BIGINT PRIMARY KEY REFERENCES clock, heard BIGINT NOT NULL)"
)
"""Of each clock when a row of it arrived last, in milliseconds since 1970. Earlier stores lack the table."""

_DDL = (
    # The client of this store at brokers, and the versions of both sets of tables.
    "CREATE TABLE fleet (version INTEGER NOT NULL, store INTEGER NOT NULL, uuid TEXT NOT NULL)",
    # Which run of a device a run of this store is: devices number theirs from 1.
    "CREATE TABLE fleet_run (run INTEGER PRIMARY KEY REFERENCES run, "
    "device INTEGER NOT NULL REFERENCES device, number INTEGER NOT NULL, UNIQUE (device, number))",
    # Of each device and table: all rows up to settled are here or gone; last is the last one that exists, and
    # begun was it when the device was met.
    "CREATE TABLE fleet_progress (device INTEGER NOT NULL REFERENCES device, kind TEXT NOT NULL, "
    "settled INTEGER NOT NULL, last INTEGER NOT NULL, lost INTEGER NOT NULL, begun INTEGER NOT NULL, "
    "PRIMARY KEY (device, kind))",
    # What the page shows of a device until it speaks again.
    "CREATE TABLE fleet_device (name TEXT PRIMARY KEY, seen INTEGER, told TEXT NOT NULL)",
    CLOCKS,
)


def tables() -> Iterator[str]:
    """Yield what makes the tables of a fleet, beside those of a store."""
    yield from _DDL
