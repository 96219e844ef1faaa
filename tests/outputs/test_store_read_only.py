"""A store on a file system that is read-only: not written, but read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from fer_edge.files import check_target

pytest.importorskip("cv2")

ALONE = ["unshare", "--user", "--map-root-user", "--mount"]
"""A process with mounts of its own, which needs no root."""

SCRIPT = """
set -e
fer() { local code=0; "$PYTHON" -m fer_edge "$@" 2>&1 || code=$?; echo "exit $code"; }
watch() { fer run --camera demo --unpaced "$@" | tail -n 2; }
mount -t tmpfs -o size=64m none disk
echo @first; watch --frames 40 --store disk/shop.db
echo @killed
"$PYTHON" -m fer_edge run --camera demo --store disk/broken.db --jsonl lines >/dev/null 2>&1 & run=$!
for _ in $(seq 600); do [ "$(wc -l 2>/dev/null < lines)" -gt 60 ] && break; sleep 0.2; done 2>/dev/null
kill -9 $run; wait $run || true
rm -f disk/broken.db-shm
mount -o remount,ro disk
sha256sum disk/* > before
echo @again; watch --frames 5 --store disk/shop.db
echo @new; watch --frames 5 --store disk/new.db
echo @read; fer store disk/shop.db
echo @broken; fer store disk/broken.db
mkdir copy; cp disk/broken.db disk/broken.db-wal copy
echo @copied; fer store copy/broken.db --csv open.csv
sha256sum disk/* | cmp - before && echo @unchanged
mount -o remount,rw disk
echo @writable; watch --frames 5 --store disk/shop.db
echo @mended; watch --frames 5 --store disk/broken.db
echo @end
"""


def parts(told):
    """What the script wrote, by the names behind @."""
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in told.split("@")[1:]}


@pytest.mark.services
def test_a_store_on_a_read_only_disk_is_read_and_left_as_it_is(tmp_path):
    pytest.importorskip("skimage")
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare, of util-linux")
    tried = subprocess.run([*ALONE, "mount", "-t", "tmpfs", "none", str(tmp_path)], capture_output=True)
    if tried.returncode:
        pytest.skip(f"this kernel lets nobody mount in a namespace: {tried.stderr.decode().strip()}")
    (tmp_path / "disk").mkdir()
    done = subprocess.run(
        [*ALONE, "bash", "-c", SCRIPT],
        cwd=tmp_path,
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = parts(done.stdout)
    assert told["first"].endswith("exit 0\n") and "40 frames in" in told["first"]
    for name in ("again", "new"):
        assert "disk lies on a file system that is read-only\nexit 2\n" in told[name]
    assert told["read"].endswith("exit 0\n") and "1 visit" in told["read"]
    assert "its last rows are in disk/broken.db-wal" in told["broken"]
    assert told["broken"].endswith("exit 2\n")
    assert told["copied"].endswith("exit 0\n")
    assert "unchanged" in told
    for name in ("writable", "mended"):
        assert told[name].endswith("exit 0\n") and "5 frames in" in told[name]


def test_a_folder_on_a_read_only_file_system_is_told_as_such(monkeypatch, tmp_path):
    class Status:
        f_flag = os.ST_RDONLY

    monkeypatch.setattr(os, "statvfs", lambda _: Status)
    with pytest.raises(ValueError, match=f"{tmp_path} lies on a file system that is read-only"):
        check_target(tmp_path / "shop.db")
