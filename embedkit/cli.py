"""The `embedkit` command: parses a verb's options, runs its handler, and turns errors into messages."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Callable, Sequence, Set
from contextlib import redirect_stderr, redirect_stdout
from difflib import get_close_matches
from pathlib import Path
from shutil import get_terminal_size
from typing import Any, NamedTuple, NoReturn

from embedkit.computing import interrupts, streams
from embedkit.console.starting import starting
from embedkit.console.visible import Visible, plain
from embedkit.console.wrapping import wrapped
from embedkit.errors import DISK_FULL, EmbedkitError, UsageError, message_of
from embedkit.verbs import VERBS, target
from embedkit.versions import own_version

Handler = Callable[[argparse.Namespace], int | None]
Configure = Callable[[argparse.ArgumentParser], Handler]

EXIT_FAILED, EXIT_USAGE = 1, 2
# Of a verb that looks at no labels, and so has no such option.
LABELS_ELSEWHERE = "Labels go to what uses them, as in `embedkit probe features.h5 --labels labels.csv`."


class Input(NamedTuple):
    """An argument that may name a file which isn't there.

    Parameters
    ----------
    refuse
        ``package.module:function``, light to import: raises where nothing else goes by that name either.
    flag
        Whether it is an input as a flag too, and not only before the options.
    types
        Of the values that are paths; others, such as a column's name, aren't looked for.
    but
        Ending of files that their verb asks after itself.
    """

    refuse: str
    flag: bool = True
    types: tuple[type[str] | type[Path], ...] = (str, Path)
    but: str = ""


INPUTS = {
    "features": Input("embedkit.files.store:FeatureFile"),
    "dataset": Input("embedkit.datasets.load:check_there", flag=False, but=".toml"),  # a bench's plan
    "labels": Input("embedkit.datasets.label_file:check_table", types=(Path,)),
    "weights": Input("embedkit.backbones.options:check_weights"),
    "adapter": Input("embedkit.backbones.options:check_adapter"),
    "recipe": Input("pretrain.finetune.recipe:recipe_file"),
}
LESS_MEMORY = (
    "Other programs may hold some of it. Less is needed with a smaller --batch-size, of `finetune` "
    "--batch-plan, with --accumulate where there is one, a smaller --image-size, or fewer rows."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0 done, 1 failed, 2 bad usage; 130, 143 or 129 ended by Ctrl-C, TERM or HUP.
    """
    if argv is None:  # a process of our own
        streams.open_closed()
        interrupts.watch(_delete_temporary)
    words = list(sys.argv[1:] if argv is None else argv)
    out: Any = Visible(plain(sys.stdout))
    err: Any = Visible(plain(sys.stderr))
    with redirect_stdout(out), redirect_stderr(err):
        return _exit_code(lambda: _command(words))


def _command(argv: Sequence[str]) -> int | None:
    parser = argparse.ArgumentParser(
        prog="embedkit",
        description="Image features: extract, cluster, probe and look at them, with few labels or none.",
        epilog="`embedkit VERB --help` shows the options of a verb.",
    )
    parser.add_argument("--version", action="version", version=f"embedkit {own_version()}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, verb in VERBS.items():
        verbs.add_parser(name, help=verb.summary, add_help=False)
    if not argv or argv[0] not in VERBS:
        if not argv:
            parser.print_help()
            return EXIT_USAGE
        parser.parse_args(argv)  # --help, --version or an unknown verb: each ends in SystemExit
    return _run(argv[0], argv[1:])


def check(argv: Sequence[str]) -> argparse.Namespace:
    """Parse a command and return its options, run nothing; a word unknown to its verb is a ``SystemExit``."""
    return _parser(argv[0])[0].parse_args(argv[1:])


def _run(name: str, argv: Sequence[str]) -> int | None:
    parser, handler = _parser(name)
    args = parser.parse_args(argv)
    _check_places(name, args)
    _check_inputs(name, args, {action.dest for action in parser._actions if action.option_strings})
    with starting(f"embedkit {name}: starting ...", plain(sys.stderr)):
        return handler(args)


def _check_inputs(name: str, args: argparse.Namespace, flags: Set[str]) -> None:
    """Refuse what is not there before the verb's own imports, which take seconds."""
    absent = []
    for option, one in INPUTS.items():
        given = getattr(args, option, None) if one.flag or option not in flags else None
        for named in given if isinstance(given, list) else [given]:
            if not isinstance(named, one.types) or (one.but and str(named).lower().endswith(one.but)):
                continue
            if not Path(named).exists():
                absent.append((named, one.refuse))
    if absent:
        from embedkit.options import from_flags

        for of_verb in VERBS[name].options:  # a wrong call is said first, as everywhere
            from_flags(target(of_verb), args)
        for named, refuse in absent:
            target(refuse)(named)


def _check_places(name: str, args: argparse.Namespace) -> None:
    """Hold what is written against what is read before the verb's function, which does so too, is there."""
    from embedkit.files.guard import check_places, of_command

    verb = VERBS[name]
    classes = [target(one) for one in (*verb.options, *verb.places)]
    if classes:
        check_places(of_command(vars(args), classes))


def _parser(name: str) -> tuple[_Parser, Handler]:
    configure: Configure = target(VERBS[name].command)
    parser = _Parser(
        prog=f"embedkit {name}",
        description=VERBS[name].summary[0].upper() + VERBS[name].summary[1:] + ".",
        formatter_class=_Help,
        allow_abbrev=False,  # `--labels` must not be taken for `--labels-key`
    )
    return parser, configure(parser)


class _Parser(argparse.ArgumentParser):
    """Say what is wrong with a call in a line or two, and not every option that there is."""

    def error(self, message: str) -> NoReturn:
        unknown = (
            message.removeprefix("unrecognized arguments: ").split() if "unrecognized" in message else []
        )
        words = [word.partition("=")[0] for word in unknown if word.startswith("--")]
        hints = []
        for word in words:
            near = get_close_matches(word, self._option_string_actions, n=1, cutoff=0.75)
            if word == "--labels":
                hints.append(LABELS_ELSEWHERE)
            elif near:
                hints.append(f"Did you mean {near[0]}?")
        text = " ".join(
            [f"{self.prog}: error: {message}.", *hints, f"`{self.prog} --help` lists the options."]
        )
        sys.stderr.write(_on_lines(text) + "\n")
        raise SystemExit(EXIT_USAGE)


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Show defaults, but not the "None" of an option that is simply not given."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False) or "(default" in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


def _delete_temporary() -> None:
    """Delete half-written files, if any were begun: the module that writes them is there then."""
    aside = sys.modules.get("embedkit.files.aside")
    if aside is not None:
        aside.delete_temporary()


def _exit_code(job: Callable[[], int | None]) -> int:
    """Run a job, and say on stderr why it ended where it didn't end well."""
    try:
        return _ended(job)
    except KeyboardInterrupt as stop:
        number = stop.signum if isinstance(stop, interrupts.Interrupted) else signal.SIGINT
        return _fail(interrupts.said(), interrupts.exit_code(number))


def _ended(job: Callable[[], int | None]) -> int:
    try:
        code = job() or 0
        streams.flush()  # here, where a reader that has gone is still handled
        return code
    except SystemExit as stop:  # argparse has printed its message
        code = stop.code if isinstance(stop.code, int) else EXIT_USAGE if stop.code else 0
        return code or _ended(lambda: 0)  # whose help may not have been written out
    except Exception as error:
        interrupts.raise_if_received()  # of which a library made this error
        return _told(error)


def _told(failure: Exception) -> int:
    try:
        raise failure
    except UsageError as error:
        return _fail(str(error), EXIT_USAGE)
    except EmbedkitError as error:
        return _fail(str(error), EXIT_FAILED)
    except BrokenPipeError:  # the reader of a pipe has gone, as with `| head`
        streams.give_up()
        return EXIT_FAILED
    except OSError as error:
        lost = streams.give_up()
        if lost or (error.filename is None and error.errno in DISK_FULL):  # files are named by their writers
            error = OSError(error.errno, error.strerror, "standard output")
        return _fail(message_of(error), EXIT_FAILED)
    except Exception as error:
        if not _memory_ran_out(error):
            raise
        return _fail(f"memory ran out. {str(error).partition('. ')[0]}. {LESS_MEMORY}", EXIT_FAILED)


def _memory_ran_out(error: Exception) -> bool:
    if "torch" not in sys.modules:  # which takes seconds to import
        return isinstance(error, MemoryError)
    from embedkit.computing.peak import is_out_of_memory

    return is_out_of_memory(error)


def _on_lines(text: str) -> str:
    return wrapped(text, get_terminal_size().columns) if sys.stderr.isatty() else text


def _fail(message: str, code: int) -> int:
    with contextlib.suppress(OSError):  # stderr is full or gone: the code says it
        print(_on_lines(f"embedkit: error: {message}"), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
