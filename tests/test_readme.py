"""The README's commands work as printed: they are run, on a database of their own."""

import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.long


def by_hand() -> str:
    """The shell blocks of the section that is to be typed."""
    section = (
        (CHECKOUT / "README.md").read_text(encoding="utf-8").partition("## By hand")[2].partition("\n## ")[0]
    )
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    assert len(blocks) >= 4
    return "\n".join(blocks)


def test_the_commands_of_the_readme_work_as_printed() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # The port is the one thing that a machine may have taken already.
    script = by_hand().replace("8000", str(port))
    assert "$PWD/.venv/bin" in script
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # as root, the database's own user must get in
        (Path(folder) / ".venv").symlink_to(Path(sys.executable).parents[1])
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env={**os.environ, "COALITION_DATA_DIR": f"{folder}/data"},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    for told in (
        '"points":"123"',  # 123.45 spent, rounded down
        '"points":"100"',
        '"available":"23"',
        "fuel",
    ):
        assert told in done.stdout.replace(" ", ""), done.stdout
    assert '"code"' not in done.stdout, done.stdout
