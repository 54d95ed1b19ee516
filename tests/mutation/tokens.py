"""The words of a PL/pgSQL function's body, and where its statements begin and end."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<skip>\s+|--[^\n]*)
      | (?P<string>E?'(?:[^']|'')*')
      | (?P<number>\d+(?:\.(?!\.)\d+)?)
      | (?P<word>[A-Za-z_][A-Za-z_0-9$]*)
      | (?P<operator>:=|=>|<=|>=|<>|<@|\|\||->>|->|::|\.\.|.)
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """One word of SQL, with its place in the text it was read from."""

    text: str
    start: int
    kind: str

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    def says(self, *words: str) -> bool:
        return self.text.upper() in words


def tokens(sql: str, start: int, end: int) -> list[Token]:
    """The words between two places, without blanks and comments."""
    found: list[Token] = []
    for match in _TOKEN.finditer(sql, start, end):
        kind = match.lastgroup or ""
        if kind != "skip":
            found.append(Token(match.group(), match.start(), kind))
    return found


def closing(words: Sequence[Token], opening: int) -> int:
    """Where the bracket closes that opens there."""
    depth = 0
    for index in range(opening, len(words)):
        depth += words[index].says("(", "[") - words[index].says(")", "]")
        if depth == 0:
            return index
    raise ValueError("a bracket that never closes")


def plain_statements(words: Sequence[Token]) -> Iterator[tuple[int, int]]:
    """The first and last word of each PL/pgSQL statement that holds no other; the last is its semicolon."""
    index = next((at for at, word in enumerate(words) if word.says("BEGIN")), len(words)) + 1
    while index < len(words):
        word = words[index]
        if word.says("END"):
            index = _next(words, index, ";") + 1
        elif word.says("ELSE", "LOOP"):
            index += 1
        elif word.says("IF", "ELSIF", "CASE", "WHEN"):
            index = _next(words, index, "THEN") + 1
        elif word.says("FOR", "FOREACH", "WHILE"):
            index = _next(words, index, "LOOP") + 1
        else:
            last = _next(words, index, ";")
            yield index, last
            index = last + 1


def _next(words: Sequence[Token], start: int, ending: str) -> int:
    """The next such word that is in no bracket and in no CASE expression."""
    depth = 0
    for index in range(start + 1, len(words)):
        word = words[index]
        if depth == 0 and word.says(ending):
            return index
        depth += word.says("(", "[", "CASE") - word.says(")", "]", "END")
    return len(words) - 1
