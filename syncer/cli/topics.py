"""``syncer topics plan|apply``: the topics of a journal on Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from syncer.cli import app, options, print_json, run_async, stdout

if TYPE_CHECKING:
    from syncer.provision import TopicState

topics = typer.Typer(no_args_is_help=True, help="Set up the topics of a journal on Kafka.", rich_markup_mode=None)
app.add_typer(topics, name="topics")

Json = Annotated[bool, typer.Option("--json", help="A JSON line a topic.")]


@topics.command()
def plan(
    json: Json = False,
    operator: Annotated[str, typer.Option(metavar="USER", help="Who sets up the topics.")] = "operator",
    hub: Annotated[str, typer.Option(metavar="USER", help="Who the hub is, and its standby.")] = "hub",
    partner: Annotated[str, typer.Option(metavar="USER", help="Who a partner is.")] = "partner",
) -> None:
    """Show what is missing or set otherwise, and the ACLs that users need; change nothing. 1 if anything is to be done."""
    raise typer.Exit(run_async(_plan((operator, hub, partner), json=json)))


@topics.command()
def apply(json: Json = False) -> None:
    """Make what is missing, and set what is set otherwise. Never changes a number of partitions."""
    raise typer.Exit(run_async(_apply(json=json)))


async def _plan(users: tuple[str, str, str], *, json: bool) -> int:
    from syncer.journal.kafka.rights import Users, commands, optional, rights  # noqa: PLC0415 - wants the kafka extra
    from syncer.provision import look  # noqa: PLC0415 - the same

    settings = options.settings(log_level="warning")
    journal, pages = settings.journal, settings.publish.pages
    states = await look(journal, pages=pages)
    _print(states, {"missing": "is to be made", "differs": "is to be set"}, json=json)
    lines, more = (commands(journal, granted(journal, Users(*users), pages=pages)) for granted in (rights, optional))
    if json:
        print_json({"acls": lines, "optional": more})
    else:
        stdout.print("\nWhat these users have to be allowed (admin.properties: how Kafka's own tool is let in):")
        stdout.print("\n".join(lines), markup=False)
        stdout.print("\nand, so that the hub sees by itself how the topics are set, which is optional:")
        stdout.print("\n".join(more), markup=False)
    return 0 if all(state.sound for state in states) else 1


async def _apply(*, json: bool) -> int:
    from syncer.provision import apply as make  # noqa: PLC0415 - wants the kafka extra

    settings = options.settings(log_level="warning")
    states = await make(settings.journal, pages=settings.publish.pages)
    _print(states, {"missing": "made", "differs": "set"}, json=json)
    return 0


def _print(states: list[TopicState], words: dict[str, str], *, json: bool) -> None:
    for state in states:
        name, partitions = state.plan.name, state.plan.partitions
        if json:
            print_json({"topic": name, "partitions": partitions, "missing": state.missing, "differs": state.differs})
            continue
        done = words["missing"] if state.missing else words["differs"] if state.differs else "as it has to be"
        stdout.print(f"{name}, {partitions} partitions: {done}")
        for key, (value, wanted) in state.differs.items():
            stdout.print(f"    {key}: {value} -> {wanted}")
