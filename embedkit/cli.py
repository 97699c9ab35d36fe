"""The `embedkit` command: a verb names a function, which is imported when the verb is used."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from embedkit.errors import EmbedkitError, UsageError

Handler = Callable[[argparse.Namespace], int | None]
Configure = Callable[[argparse.ArgumentParser], Handler]

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Verb:
    """One subcommand.

    Parameters
    ----------
    summary
        The line in ``embedkit --help``.
    target
        ``package.module:function``. The function adds its options to the parser that it is given and
        returns the handler that runs the parsed command.
    """

    summary: str
    target: str


VERBS = {
    "datasets": Verb("list the datasets that are known by name", "embedkit.datasets.command:configure"),
    "extract": Verb("turn images into a feature file", "embedkit.extraction.command:configure"),
    "verify": Verb(
        "check a feature file against its schema and its images", "embedkit.extraction.verify:configure"
    ),
    "cluster": Verb("find structure in a feature file without labels", "clustering.command:configure"),
    "probe": Verb("measure what labels can read out of a feature file", "probes.command:configure"),
    "leaks": Verb("find copies of one image across a split", "probes.leaks.command:configure"),
    "quality": Verb("judge feature files without labels", "embedkit.scoring.quality_command:configure"),
    "pretrain": Verb("adapt or train a backbone without labels", "pretrain.run:configure"),
    "report": Verb("make an interactive map of a feature file", "reports.report_command:configure"),
    "attention": Verb("draw where a vision transformer looks", "reports.attention_command:configure"),
    "leaderboard": Verb("rank the results of a folder", "reports.leaderboard.command:configure"),
    "compare": Verb(
        "say which of two feature files is better, and at what", "embedkit.workflows.compare:configure"
    ),
    "bench": Verb(
        "extract, cluster, probe and rank in one resumable run", "embedkit.workflows.bench:configure"
    ),
    "demo": Verb("run the whole of it on real radio galaxies", "embedkit.workflows.demo:configure"),
    "doctor": Verb("show versions, device and what is missing", "embedkit.doctor:configure"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 2 bad usage, 130 interrupted."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="embedkit",
        description="Image features: extract, cluster, probe and look at them, with few labels or none.",
        epilog="`embedkit VERB --help` shows the options of a verb.",
    )
    parser.add_argument("--version", action="version", version=f"embedkit {_version()}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, verb in VERBS.items():
        verbs.add_parser(name, help=verb.summary, add_help=False)
    if not argv or argv[0] not in VERBS:
        if not argv:
            parser.print_help()
            return EXIT_USAGE
        return _exit_code(lambda: _top_level(parser, argv))
    return _exit_code(lambda: _run(argv[0], argv[1:]))


def _top_level(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    parser.parse_args(argv)  # --help, --version or an unknown verb: each ends in SystemExit


def check(argv: Sequence[str]) -> argparse.Namespace:
    """Parse a command and return its options, run nothing; a word unknown to its verb is a ``SystemExit``."""
    return _parse(argv[0], argv[1:])[1]


def _run(name: str, argv: Sequence[str]) -> int | None:
    handler, args = _parse(name, argv)
    return handler(args)


def _parse(name: str, argv: Sequence[str]) -> tuple[Handler, argparse.Namespace]:
    module, function = VERBS[name].target.split(":")
    configure: Configure = getattr(importlib.import_module(module), function)
    parser = argparse.ArgumentParser(
        prog=f"embedkit {name}",
        description=VERBS[name].summary[0].upper() + VERBS[name].summary[1:] + ".",
        formatter_class=_Help,
    )
    handler = configure(parser)
    return handler, parser.parse_args(argv)


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Show defaults, but not the "None" of an option that is simply not given."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False) or "(default" in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


def _exit_code(job: Callable[[], int | None]) -> int:
    try:
        code = job() or 0
        sys.stdout.flush()  # here, where a reader that has gone is still handled
        return code
    except SystemExit as stop:  # argparse has printed its message
        return stop.code if isinstance(stop.code, int) else EXIT_USAGE
    except UsageError as error:
        return _fail(str(error), EXIT_USAGE)
    except EmbedkitError as error:
        return _fail(str(error), EXIT_FAILED)
    except KeyboardInterrupt:
        return _fail(
            "interrupted. What was finished is kept; the same command goes on from there.", EXIT_INTERRUPTED
        )
    except BrokenPipeError:  # the reader of a pipe has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as error:
        return _fail(_os_message(error), EXIT_FAILED)


def _os_message(error: OSError) -> str:
    place = error.filename or "a file"
    if error.errno in DISK_FULL:
        return (
            f"{place}: no room left on the disk. Free some space, or write elsewhere with -o; what was "
            "finished is kept."
        )
    return f"{place}: {error.strerror or error}."


def _fail(message: str, code: int) -> int:
    print(f"embedkit: error: {message}", file=sys.stderr)
    return code


def _version() -> str:
    try:
        return version("embedkit")
    except PackageNotFoundError:
        return "unknown (not installed)"


if __name__ == "__main__":
    sys.exit(main())
