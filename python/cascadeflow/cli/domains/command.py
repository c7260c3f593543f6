"""`cascadeflow domains`: which there are, and how well the detector does on labelled requests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascadeflow.cli.bars import shortened
from cascadeflow.cli.domains.options import DomainsOption, LayersOption, own_domains
from cascadeflow.cli.output import JsonOption, VerboseOption, opened
from cascadeflow.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.console import Console

    from cascadeflow.domains.detector import DomainDetector
    from cascadeflow.domains.registry import Domain

__all__ = ["domains_app"]

domains_app = typer.Typer(
    help="What requests are about: which domains there are, and how well they are found.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@domains_app.command("list")
def list_domains(
    *,
    domains: DomainsOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """List the built-in domains, and those of a file."""
    from cascadeflow.domains.registry import DomainRegistry  # noqa: PLC0415
    from cascadeflow.domains.rules import RuleLayer  # noqa: PLC0415
    from cascadeflow.domains.zero_shot import DESCRIPTIONS  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        registry = DomainRegistry(own_domains(domains))
        rules = RuleLayer.builtin()
        found: list[dict[str, Any]] = []
        for name in sorted(registry.names):
            own = registry.get(name)
            found.append(
                {
                    "domain": name,
                    "description": registry.description(name) or DESCRIPTIONS.get(name),
                    "built_in": name in rules.domains,
                    "rules_answer_from": (
                        rules.threshold_of(name) if name in rules.domains else None
                    ),
                    "examples": 0 if own is None else len(own.examples),
                    "models": [] if own is None else list(own.named_models),
                    "threshold": None if own is None else own.threshold,
                }
            )
        widest = max(len(each["domain"]) for each in found)
        for each in found:
            says = [each["description"] or ("known by its examples" if each["examples"] else "")]
            if each["examples"]:
                says.append(f"{each['examples']} examples")
            if each["models"]:
                says.append(f"models {', '.join(each['models'])}")
            line = shortened("; ".join(filter(None, says)), 400)
            output.console.print(f"{each['domain']:<{widest}}  {line}", markup=False)
        output.result({"domains": found})


@domains_app.command("eval")
def evaluate_domains(
    file: Annotated[
        str, typer.Argument(help="Labelled requests: JSON lines, gzipped or not; - is stdin.")
    ],
    *,
    layers: LayersOption = None,
    split: Annotated[
        list[str] | None,
        typer.Option(help="Only the rows with this `split`; may be given repeatedly."),
    ] = None,
    domains: DomainsOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Say how well the detector finds the domains of labelled requests."""
    from cascadeflow.cli.domains.labelled import read_labelled  # noqa: PLC0415
    from cascadeflow.cli.domains.report import print_score, values  # noqa: PLC0415

    with opened(as_json=as_json, verbose=verbose) as output:
        detector, used, note = _detector(own_domains(domains), layers)
        rows = read_labelled(file, detector.names, splits=tuple(split or ()))
        if note is not None:
            output.warnings.print(f"rules alone: {note}", style="yellow", markup=False)
        score = asyncio.run(_scored(rows, detector, output.console))
        print_score(score, output.console)
        output.result(
            {
                "file": file,
                "splits": list(split or ()),
                "layers_used": used,
                "note": note,
                **values(score),
            }
        )


async def _scored(rows: Any, detector: DomainDetector, console: Console) -> Any:
    from rich.progress import Progress  # noqa: PLC0415

    from cascadeflow.cli.domains.score import score  # noqa: PLC0415

    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("detecting", total=len(rows))
        return await score(
            rows, detector, on_progress=lambda done: progress.update(task, completed=done)
        )


def _detector(own: dict[str, Domain], layers: str | None) -> tuple[DomainDetector, str, str | None]:
    """Gives the detector, the layers it uses, and why it does without the sentence model.

    Raises:
        ConfigurationError: the sentence model is needed and cannot be had.
    """
    from cascadeflow.domains.detector import DomainDetector  # noqa: PLC0415

    if layers == "rules":
        return DomainDetector(own.values(), semantic=False), "rules", None
    try:
        detector = DomainDetector(own.values(), semantic=True)
        embedder = detector.embedder()
        if embedder is not None:
            embedder.embed(["Is it there?"])  # opens it: a damaged one is told from none
    except ConfigurationError as error:
        if layers == "semantic" or any(domain.examples for domain in own.values()):
            raise ConfigurationError(f"{error}. Without it, --layers rules works") from error
        return DomainDetector(own.values(), semantic=False), "rules", str(error)
    return detector, "semantic", None
