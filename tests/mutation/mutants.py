"""What is changed in the kernel: one mutant for each place at which an operator fits.

Only bodies of functions are changed; signatures, grants and SECURITY DEFINER are the catalogue test's. Text
literals are left alone. A change that PostgreSQL cannot parse is not counted.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise

from coalition.ledger.kernel import kernel_sql, statements
from mutation.tokens import Token, closing, plain_statements, tokens

SWAPS = {
    "comparison": {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "=": "<>", "<>": "="},
    "arithmetic": {"+": "-", "-": "+", "*": "/", "/": "*"},
    "logic": {"AND": "OR", "OR": "AND"},
    "boolean": {"TRUE": "false", "FALSE": "true"},
    "extreme": {"LEAST": "greatest", "GREATEST": "least", "MIN": "max", "MAX": "min"},
}

OPERATORS = {
    "comparison": "< and <=, > and >=, = and <>, IS and IS NOT, IN and NOT IN: one for the other",
    "arithmetic": "+ and -, * and /: one for the other",
    "logic": "AND and OR: one for the other",
    "negation": "a NOT dropped; a bare condition of IF negated",
    "boolean": "true and false: one for the other",
    "extreme": "least and greatest, min and max: one for the other",
    "constant": "0 for 1, 1 for 0, another number one more",
    "default": "coalesce without its last argument",
    "order": "a key of ORDER BY dropped or turned round",
    "lock": "FOR UPDATE dropped",
    "removal": "a statement that holds no other dropped: a guard, an assignment, a write, an early return",
}

_FUNCTION = re.compile(r"CREATE FUNCTION ledger\.(\w+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change in one function."""

    id: str
    file: str
    line: int
    function: str
    operator: str
    before: str
    after: str
    text: str
    sql: str
    original: str

    @property
    def change(self) -> str:
        return f"{_squeezed(self.before)} → {_squeezed(self.after) or '(nothing)'}"


def kernel_mutants() -> list[Mutant]:
    """All of them, in the order of the files and their lines."""
    folder = files("coalition.ledger")
    scripts = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda f: f.name)
    return [
        mutant for script in scripts for mutant in mutants_of(script.name, script.read_text(encoding="utf-8"))
    ]


def calls_within() -> dict[str, set[str]]:
    """Each function of the kernel with all that it may call, itself included."""
    direct: dict[str, set[str]] = {}
    for script in kernel_sql():
        for statement in statements(script):
            if head := _FUNCTION.search(_without_comments(statement)):
                direct[head.group(1)] = set(re.findall(r"ledger\.(\w+)\s*\(", _without_comments(statement)))
    within = {name: {name, *calls & direct.keys()} for name, calls in direct.items()}
    # Until none of them finds more: as many rounds as calls are deep.
    while sum([_grow(found, within) for found in within.values()]):
        pass
    return within


def _grow(found: set[str], within: dict[str, set[str]]) -> bool:
    before = len(found)
    found.update(*(within[name] for name in list(found)))
    return len(found) > before


def mutants_of(file: str, script: str) -> Iterator[Mutant]:
    """The mutants of one file. Their ids outlive changes elsewhere: a mutant is its function, its line and its change."""
    place = 0
    seen: Counter[str] = Counter()
    for statement in statements(script):
        place = script.index(statement, place)
        # Comments before the statement may name functions.
        head = _FUNCTION.search(_without_comments(statement))
        if head and "$$" in statement:
            installable = re.sub(
                r"CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", statement[head.start() :], count=1
            )
            shift = len(statement) - len(installable)
            body = installable.index("$$") + 2, installable.rindex("$$")
            changes = sorted(set(_changes(tokens(installable, *body), installable)))
            for start, end, operator, after in changes:
                line = installable[: start + len(_margin(installable[start:end]))].count("\n")
                text = installable.splitlines()[line].strip()
                label = "\0".join((head.group(1), text, operator, installable[start:end], after))
                seen[label] += 1
                yield Mutant(
                    id=hashlib.sha256(f"{label}\0{seen[label]}".encode()).hexdigest()[:10],
                    file=file,
                    line=script.count("\n", 0, place + shift + start) + 1,
                    function=head.group(1),
                    operator=operator,
                    before=installable[start:end],
                    after=after,
                    text=text,
                    sql=installable[:start] + after + installable[end:],
                    original=installable,
                )
        place += len(statement)


def _without_comments(sql: str) -> str:
    """The same with blanks in their place."""
    return re.sub(r"--[^\n]*", lambda found: " " * len(found.group()), sql)


Change = tuple[int, int, str, str]
_Finder = Callable[[Sequence[Token], str], Iterator[Change]]


def _changes(words: Sequence[Token], sql: str) -> Iterator[Change]:
    for find in _FINDERS:
        yield from find(words, sql)


def _swapped(words: Sequence[Token], _sql: str) -> Iterator[Change]:
    for index, word in enumerate(words):
        for operator, swaps in SWAPS.items():
            other = swaps.get(word.text.upper())
            if other is None or (word.text == "*" and not _multiplies(words, index)):
                continue
            if operator == "extreme" and not words[index + 1].says("("):
                continue
            yield word.start, word.end, operator, other
    for first, second in pairwise(words):
        if first.says("IS"):
            yield (
                (second.start, second.end, "comparison", "")
                if second.says("NOT")
                else (first.end, first.end, "comparison", " NOT")
            )
        if second.says("IN") and not first.says("FOR"):
            yield (
                (first.start, second.start, "comparison", "")
                if first.says("NOT")
                else (second.start, second.start, "comparison", "NOT ")
            )


def _multiplies(words: Sequence[Token], index: int) -> bool:
    before, after = words[index - 1], words[index + 1]
    return (before.kind in {"number", "word"} and not before.says("SELECT", "RETURNING", ".")) and (
        after.kind in {"number", "word"} and not after.says("FROM", "INTO")
    )


def _negated(words: Sequence[Token], _sql: str) -> Iterator[Change]:
    for index, word in enumerate(words):
        following = words[index + 1 : index + 2]
        if word.says("NOT") and not words[index - 1].says("IS") and not following[0].says("IN"):
            yield word.start, following[0].start, "negation", ""
        if word.says("IF", "ELSIF") and not words[index - 1].says("END"):
            until = next(at for at in range(index, len(words)) if words[at].says("THEN"))
            condition = words[index + 1 : until]
            if not any(
                w.says("<", "<=", ">", ">=", "=", "<>", "IS", "NOT", "IN", "BETWEEN") for w in condition
            ):
                yield condition[0].start, condition[0].start, "negation", "NOT "


def _constants(words: Sequence[Token], _sql: str) -> Iterator[Change]:
    for word in words:
        if word.kind == "number":
            other = {"0": "1", "1": "0"}.get(word.text) or str(int(word.text) + 1)
            yield word.start, word.end, "constant", other


def _defaults(words: Sequence[Token], sql: str) -> Iterator[Change]:
    for index, word in enumerate(words):
        if word.says("COALESCE"):
            end = closing(words, index + 1)
            commas = [at for at in _shallow(words, index + 2, end) if words[at].says(",")]
            if commas:
                kept = sql[words[index + 2].start : words[commas[-1]].start]
                yield word.start, words[end].end, "default", f"coalesce({kept.strip()}, NULL)"


def _orders(words: Sequence[Token], _sql: str) -> Iterator[Change]:
    for index, word in enumerate(words[:-1]):
        if not (word.says("ORDER") and words[index + 1].says("BY")):
            continue
        first = index + 2
        shallow = list(_shallow(words, first, len(words)))
        end = next(
            (at for at in shallow if words[at].says(";", "LOOP", "LIMIT", "FOR", "ROWS")),
            shallow[-1] + 1 if shallow else first,
        )
        commas = [at for at in shallow if at < end and words[at].says(",")]
        starts, ends = [first, *(at + 1 for at in commas)], [*commas, end]
        for nth, (start, stop) in enumerate(zip(starts, ends, strict=True)):
            last = words[stop - 1]
            if last.says("DESC"):
                yield last.start, last.end, "order", ""
            else:
                yield last.end, last.end, "order", " DESC"
            if len(starts) == 1:
                yield word.start, last.end, "order", ""
            elif nth == 0:
                yield words[start].start, words[stop].end, "order", ""
            else:
                yield words[start - 1].start, last.end, "order", ""


def _locks(words: Sequence[Token], _sql: str) -> Iterator[Change]:
    for first, second in pairwise(words):
        if first.says("FOR") and second.says("UPDATE"):
            yield first.start, second.end, "lock", ""


def _removals(words: Sequence[Token], _sql: str) -> Iterator[Change]:
    for first, last in plain_statements(words):
        if not words[first].says("NULL"):
            yield words[first].start, words[last].end, "removal", "NULL;"


_FINDERS: tuple[_Finder, ...] = (_swapped, _negated, _constants, _defaults, _orders, _locks, _removals)


def _shallow(words: Sequence[Token], start: int, end: int) -> Iterator[int]:
    """The places up to the end, or to the bracket that closes around them, that are in no bracket of their own."""
    depth = 0
    for index in range(start, end):
        if words[index].says(")", "]"):
            depth -= 1
            if depth < 0:
                return
        elif words[index].says("(", "["):
            depth += 1
        if depth == 0:
            yield index


def _margin(text: str) -> str:
    return text[: len(text) - len(text.lstrip())]


def _squeezed(text: str) -> str:
    return " ".join(text.split())
