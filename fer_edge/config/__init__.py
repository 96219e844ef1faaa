"""The configuration of ``fer-edge run``: every option, from flags, environment, a TOML file, or its default.

An option is one field: of :class:`Config` where it concerns the source's name or an output, of
:class:`~fer_edge.pipeline.options.WatchOptions` where it concerns the loop. The field
(:func:`fer_edge.option.option`) makes its flag, its key in the file, its variable, its line in
``--print-config`` and its row in docs/configuration.md.

**The file** is flat: ``min_score = 0.8`` is ``--min-score 0.8`` and ``FER_EDGE_MIN_SCORE=0.8``. Values of the
right TOML type are then parsed as the flag's text is, so that they obey the same limits.

**Several cameras** are an array of tables, or ``--camera`` given more than once; one process reads them::

    min_score = 0.8                 # of all cameras that say nothing else
    jsonl = "/var/lib/fer-edge/all.jsonl"

    [[camera]]
    name = "door"                   # what results, file names and messages call it; needed, unique
    source = 0                      # whatever SOURCE or --camera takes
    rotate = 180
    region = [0.1, 0.0, 0.9, 1.0]   # left, top, right, bottom in parts of the turned picture
    mask = [[[0.0, 0.0], [0.3, 0.0], [0.3, 1.0]]]   # polygons in parts of it; faces in them are ignored
    save_video = "door.mp4"

    [[camera]]
    name = "till"
    source = "rtsp://viewer@192.168.1.20/stream"
    password_file = "/etc/fer-edge/till.password"

``[[camera]]`` excludes the keys ``source`` and ``camera`` (TOML itself refuses the latter); SOURCE and
``--camera`` displace the tables. A table takes ``name`` and the options of :data:`TABLE`: all except those of
the one detector and classifier and of the whole run. What it leaves out comes from the keys above the tables,
except ``jsonl``: the one above gets the results of all cameras, a table's those of its camera alone.
``save_video`` and ``save_image`` above give each camera that has none a file of its own, with the name added.
"""

from __future__ import annotations

from .loading import load, with_store
from .printing import to_toml
from .reloading import Reloaded, reloaded
from .schema import DEFAULT_NAME, GROUPS, OPTIONS, RESERVED, TABLE, CameraConfig, Config
from .settings import ConfigError, Loaded, Setting

__all__ = [
    "DEFAULT_NAME",
    "GROUPS",
    "OPTIONS",
    "RESERVED",
    "TABLE",
    "CameraConfig",
    "Config",
    "ConfigError",
    "Loaded",
    "Reloaded",
    "Setting",
    "load",
    "reloaded",
    "to_toml",
    "with_store",
]
