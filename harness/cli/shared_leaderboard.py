"""`harness leaderboard`: the records of several people in one table and on one page."""

from __future__ import annotations

import argparse

from harness.cli.arguments import check_rule_and_selection, give, one_dataset, say
from harness.core.errors import DataError, UsageError


def leaderboard(args: argparse.Namespace) -> None:
    """Print the tables and write the page; DataError where a record is refused.

    All refused records are printed where there are several; then nothing is written.
    """
    from harness.api.shared_leaderboard import shared_leaderboard
    from harness.core.files import write_atomic
    from harness.results import leaderboard_page, tables

    check_rule_and_selection(args)
    if not args.folders and not args.reference:
        raise UsageError("name folders of records, or --reference for the project's own")
    board = shared_leaderboard(
        args.folders, args.profile, args.dataset or (), args.rule, args.select,
        reference=args.reference,
    )  # fmt: skip
    refused = [refusal.sentence for refusal in board.refused]
    if len(refused) == 1:
        raise DataError(refused[0])
    if refused:
        print("\n".join(refused))
        raise DataError(f"{len(refused)} records are refused, {board.verified} prove themselves")
    if args.format in ("csv", "json") and len(board.tables) > 1:
        one_dataset(args, f"--format {args.format}")
        raise DataError(f"--format {args.format} holds one table; name one data set: --dataset")
    give("\n".join(tables.render(table, args.format) for table in board.tables), args.out)
    people = ", ".join(submission.reporter for submission in board.submissions)
    say(f"leaderboard: {board.verified} records prove themselves, reported by {people}")
    if args.page is not None:
        page = leaderboard_page.render(board.tables, board.submissions, board.profile)
        write_atomic(args.page, page.encode())
        say(f"leaderboard: {args.page}")
