"""The command line. Alone prints, parses arguments and exits; one file a verb.

Exit codes: 0 done or drained, 1 a bug or a check that found something, 2 usage, 3 resume point lost, 4 superseded by another
owner, 69 a dependency refuses for good, 75 something is away for the moment, 78 configuration, 130 and 143 ended by a signal
before it was done. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import asyncio
import errno
import importlib
import math
import os
import sys
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import version as installed_version
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import orjson
import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape

from syncer import config, telemetry
from syncer.errors import Retry, Stop, SyncerError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

app = typer.Typer(
    name="syncer", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)


class _Output(Console):
    """Where results go. Whoever reads them may have seen enough."""

    def on_broken_pipe(self) -> None:
        """Rich would call that a failure."""
        enough()


stderr = Console(stderr=True, highlight=False, soft_wrap=True)
stdout = _Output(highlight=False, soft_wrap=True)

UNAVAILABLE = 75  # what would have to wait for something that is away, and does not (EX_TEMPFAIL)
INTERRUPTED = 130


class LogLevel(StrEnum):
    """From which level on something is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(slots=True)
class Options:
    """What is said before the verb."""

    path: Path | None = None
    flags: dict[str, Any] = field(default_factory=dict)
    log_level: LogLevel | None = None
    log_json: bool | None = None

    def settings(self, *, log_level: str = "info") -> config.Settings:
        """The settings, after setting up logging; ``log_level`` is the verb's own default."""
        as_json = self.log_json if self.log_json is not None else not sys.stderr.isatty()
        telemetry.set_up_logging(self.log_level or log_level, json=as_json)
        return config.load(self.path, self.flags)


options = Options()


@app.callback()
def _before(
    config_file: Annotated[Path | None, typer.Option("--config", envvar="SYNCER_CONFIG", help="A TOML file of settings.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, as in --set feed.rewind=10; repeatable.")
    ] = None,
    contact: Annotated[str | None, typer.Option(help="Address or URL that Wikimedia can reach you at.")] = None,
    log_level: Annotated[LogLevel | None, typer.Option(help="Log from this level on.")] = None,
    log_json: Annotated[
        bool | None, typer.Option("--log-json/--log-text", help="Log JSON lines (default: not on a terminal).")
    ] = None,
) -> None:
    """Keep mirrors of Wikimedia wikis current, without crawling."""
    options.path, options.log_level, options.log_json = config_file, log_level, log_json
    options.flags = dict(_pair(pair) for pair in set_ or ())
    if contact is not None:
        options.flags["contact"] = contact


def _pair(pair: str) -> tuple[str, str]:
    key, equals, value = pair.partition("=")
    if not equals:
        raise typer.BadParameter(f"--set wants KEY=VALUE, not {pair!r}")
    return key.strip(), value


def finite(value: float | None) -> float | None:
    """A number of the command line that has to be one; bounds let ``nan`` through."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no number to count with")
    return value


@app.command()
def version(json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False) -> None:
    """Print the version."""
    number = installed_version("wiki-syncer")
    print_json({"version": number}) if json else stdout.print(number)


def run_async(work: Coroutine[Any, Any, int | None]) -> int:
    """Run a verb to its end, on uvloop where that is installed, and give its exit code."""
    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ImportError:
        return asyncio.run(work) or 0
    return uvloop.run(work) or 0


def print_json(value: object) -> None:
    """Write one JSON line to stdout."""
    write(orjson.dumps(value, default=str, option=orjson.OPT_APPEND_NEWLINE))


def print_columns(rows: Sequence[Sequence[str]]) -> None:
    """Print rows as aligned columns; nothing is cut short, however narrow the terminal, and nothing steers it."""
    clean = [["".join(char if char.isprintable() else "\ufffd" for char in cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*clean, strict=True)]
    for row in clean:
        cells = (set_cell_size(cell, width) for cell, width in zip(row, widths, strict=True))
        stdout.print("  ".join(cells).rstrip(), markup=False)


def write(data: bytes) -> None:
    """Write to stdout, byte for byte. Ends the program, and well, where nobody reads it any more."""
    try:
        sys.stdout.buffer.write(data)
    except BrokenPipeError:
        enough()


def enough() -> NoReturn:
    """End the program, and well: whoever read its output has seen enough."""
    _write_no_more()
    raise typer.Exit(0)


def _write_no_more() -> None:
    """Let nothing come of what is still to be written: Python would try again at its end, and fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """Run the command line, and turn what goes wrong into a message, a hint and an exit code."""
    importlib.import_module("syncer.cli.verbs")  # they register with the app that is defined here
    try:
        _check_arguments(sys.argv[1:])
        code = app(prog_name="syncer", standalone_mode=False)
        sys.stdout.flush()
    except typer.Exit as error:
        code = error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except BrokenPipeError:
        _write_no_more()
        code = 0
    except SyncerError as error:
        _complain(error)
        code = error.exit_code if isinstance(error, Stop) else UNAVAILABLE if isinstance(error, Retry) else 1
    except Exception as error:
        if hasattr(error, "format_message"):  # a usage error of the parser has it
            _misused(error)
            code = 2
        elif isinstance(error, OSError) and error.errno == errno.ENOSPC:
            _write_no_more()
            _complain(SyncerError(str(error)))
            code = 1
        else:
            raise
    sys.exit(code if isinstance(code, int) else 0)


def _check_arguments(arguments: Sequence[str]) -> None:
    """A word that is not UTF-8 can be no title, and could not even be printed."""
    if unfit := [word for word in arguments if any("\ud800" <= character <= "\udfff" for character in word)]:
        raise typer.BadParameter(f"an argument is not UTF-8: {unfit[0]!a}; see syncer --help")


def _misused(error: Any) -> None:
    """Say what is wrong with the arguments; where there are none, what there could be."""
    nothing = type(error).__name__ == "NoArgsIsHelpError"
    stderr.print(escape(error.format_message()) if nothing else f"[red]error:[/] {escape(error.format_message())}")
    if not nothing and error.ctx:
        stderr.print(f"[yellow]hint:[/] {escape(error.ctx.command_path)} --help")


def _complain(error: SyncerError) -> None:
    stderr.print(f"[red]error:[/] {escape(str(error))}")
    if error.hint:
        stderr.print(f"[yellow]hint:[/] {escape(error.hint)}")
