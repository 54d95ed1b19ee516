"""The `coalition` command, as a test types it."""

import json
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner, Result

from coalition.cli import cli


@dataclass
class Terminal:
    """Runs `coalition` commands on the test's database."""

    environment: dict[str, str]

    def __call__(self, *words: str, exit_code: int = 0, **environment: str) -> Result:
        result = CliRunner().invoke(cli, words, env=self.environment | environment, prog_name="coalition")
        assert result.exit_code == exit_code, result.output
        return result

    def data(self, *words: str, **environment: str) -> Any:
        # Before what follows "--", which are no options any more.
        split = words.index("--") if "--" in words else len(words)
        return json.loads(self(*words[:split], "--json", *words[split:], **environment).stdout)
