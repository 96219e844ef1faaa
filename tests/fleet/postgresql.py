"""A PostgreSQL server for tests marked ``services``: a folder, a socket, a user who is not root."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

BIN = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/nonexistent"))
PASSWORD = "s3cret-of-the-fleet"


class Postgresql:
    """Listens at a socket only. ``url``: a database with a user whose password is asked for."""

    def __init__(self):
        assert (BIN / "initdb").exists(), "PostgreSQL is not installed: apt install postgresql"
        # A socket's path may have 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="fer-pg-"))
        self._user = []
        if os.geteuid() == 0:
            name = "postgres" if "postgres" in {one.pw_name for one in pwd.getpwall()} else "nobody"
            user = pwd.getpwnam(name)
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        self.folder.chmod(0o755)
        self._data = self.folder / "data"
        self._run("initdb", "-D", self._data, "-U", "admin", "-A", "trust", "-E", "UTF8", "--no-sync")
        # By the socket, the user of the tests needs the password.
        hba = "local all admin trust\nlocal all all scram-sha-256\n"
        write = [*self._user, "tee", self._data / "pg_hba.conf"]
        subprocess.run(write, input=hba.encode(), check=True, stdout=subprocess.DEVNULL)
        self.start()
        self.sql(f"CREATE ROLE fleet LOGIN PASSWORD '{PASSWORD}'")

    def database(self, encoding="UTF8"):
        """The URL of a new database."""
        name = f"fleet_{secrets.token_hex(4)}"
        self.sql(f"CREATE DATABASE {name} OWNER fleet ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'")
        return f"postgresql://fleet:{PASSWORD}@/{name}?host={self.folder}"

    def sql(self, statement):
        command = [BIN / "psql", "-h", self.folder, "-U", "admin", "-d", "postgres", "-qAtc", statement]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def start(self):
        options = f"-k {self.folder} -c listen_addresses='' -c max_connections=30"
        self._run("pg_ctl", "-D", self._data, "-w", "-l", self.folder / "log", "-o", options, "start")

    def kill(self):
        """End at once, as by kill -9; what was committed is in the log that it writes ahead."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")

    def remove(self):
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "stop", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program, *arguments, check=True):
        command = [*self._user, BIN / program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/")
        assert not check or not done.returncode, done.stdout + done.stderr
