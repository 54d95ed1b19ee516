"""The kernel's SQL as migrations install it, and which of its functions the application may call."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

FUNCTIONS_FOR_THE_APPLICATION: Final = (
    "post_issue",
    "post_redeem",
    "post_batch",
    "post_reverse",
    "post_authorize",
    "post_capture",
    "post_void",
    "post_voucher",
    "post_redeem_voucher",
    "post_transfer",
    "post_merge",
    "post_unmerge",
    "propose_adjustment",
    "post_adjustment",
    "reject_adjustment",
    "open_pool",
    "invite_to_pool",
    "accept_pool_invitation",
    "leave_pool",
    "close_pool",
    "witness",
    "remembered",
    "taken_unasked",
    "taken_of_others",
    "confirm_redemption",
    "enrol",
    "link_identifier",
    "respell_identifiers",
    "forget_requests",
    "change_identifier",
    "replace_card",
    "set_member_blocked",
    "erase_member",
    "bring_members_up_to_date",
    "open_programme",
    "set_clock",
    "set_consent_limit",
    "set_hold_limits",
    "set_late_days",
    "set_transfer_limit",
    "set_adjustment_limit",
    "set_voucher_limits",
    "prepare_partitions",
    "close_window",
    "seal_window",
    "refresh_figures",
    "ask_limits",
    "ask_identifier",
    "queue_review",
    "decide_review",
    "record_refusals",
    "trim_refusals",
)


def kernel_sql() -> list[str]:
    """The kernel's files in the order of their numbers, each a script to run as the owner."""
    folder = files("coalition.ledger")
    scripts = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name
    )
    return [script.read_text(encoding="utf-8") for script in scripts]


def statements(script: str) -> list[str]:
    """A script's statements, one by one: each ends with a semicolon at a line's end outside `$$` quotes."""
    found: list[str] = []
    lines: list[str] = []
    for line in script.splitlines():
        lines.append(line)
        statement = "\n".join(lines)
        if (
            line.rstrip().endswith(";")
            and not line.lstrip().startswith("--")
            and statement.count("$$") % 2 == 0
        ):
            found.append(statement.strip())
            lines = []
    return found
