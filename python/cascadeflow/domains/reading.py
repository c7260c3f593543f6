"""Reads what a domain is given: right, or an error that says what would be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict, TypeVar

from cascadeflow.config import QualityConfig
from cascadeflow.errors import ConfigurationError

if TYPE_CHECKING:
    from cascadeflow.config import QualityMode

__all__ = [
    "CHECKS",
    "FEWEST_EXAMPLES",
    "DomainFields",
    "check_name",
    "domain_fields",
    "near",
    "read_domains",
]

FEWEST_EXAMPLES: Final = 3

_LONGEST_NAME: Final = 100


class DomainFields(TypedDict, total=False):
    """What a domain may be given besides its name: any iterable where a tuple is kept."""

    examples: Iterable[str]
    models: Iterable[str] | None
    draft_model: str | None
    verifier_model: str | None
    threshold: float | None
    quality: QualityConfig | QualityMode | None
    system_prompt: str | None
    description: str | None


def near(name: str, known: Iterable[str]) -> str:
    """Says what may have been meant by a name that is not known.

    >>> near("maths", ["math", "code"]), near("x", ["math", "code"])
    ('did you mean math?', 'known are code, math')
    """
    from difflib import get_close_matches  # noqa: PLC0415 - for errors only

    known = sorted(known)
    found = get_close_matches(name, known, n=1)
    return f"did you mean {found[0]}?" if found else f"known are {', '.join(known)}"


def check_name(name: Any) -> None:
    """Refuses what cannot be a domain's name."""
    if not isinstance(name, str) or not name or name != name.strip() or not name.isprintable():
        raise ConfigurationError(
            f"a domain's name must be a text of one line such as 'billing', not {_shown(name)}"
        )
    if len(name) > _LONGEST_NAME:
        raise ConfigurationError(
            f"a domain's name has at most {_LONGEST_NAME} characters, not {len(name)}: what it is "
            "about goes into description="
        )


def _text(where: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{where} must be a text that is not empty, not {_shown(value)}")
    return value


def _texts(where: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        raise ConfigurationError(f"{where} must be a list of texts: [{_shown(value)}]")
    if not isinstance(value, Iterable) or isinstance(value, (bytes, Mapping)):
        raise ConfigurationError(f"{where} must be a list of texts, not {_shown(value)}")
    return tuple(dict.fromkeys(str(_text(f"each of {where}", _given(each))) for each in value))


def _given(value: Any) -> Any:
    """`None` is no text within a list."""
    return "" if value is None else value


def _examples(where: str, value: Any) -> tuple[str, ...]:
    found = _texts(where, value)
    if found and len(found) < FEWEST_EXAMPLES:
        raise ConfigurationError(
            f"{where}: {len(found)} of them say too little; give at least {FEWEST_EXAMPLES} "
            "different ones, better 5 to 20"
        )
    return found


def _models(where: str, value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    found = _texts(where, value)
    if not found:
        raise ConfigurationError(
            f"{where} is empty: nobody could be asked (None leaves it to the agent)"
        )
    return found


def _threshold(where: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ConfigurationError(f"{where} must be a number from 0 to 1, not {_shown(value)}")
    return float(value)


def _quality(where: str, value: Any) -> QualityConfig | None:
    if value is None or isinstance(value, QualityConfig):
        return value
    if not isinstance(value, str):
        raise ConfigurationError(
            f"{where} must be a QualityConfig or a mode such as 'fast', not {_shown(value)}"
        )
    mode: Any = value  # checked by the record
    try:
        return QualityConfig(mode=mode)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None


CHECKS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "examples": _examples,
    "models": _models,
    "draft_model": _text,
    "verifier_model": _text,
    "threshold": _threshold,
    "quality": _quality,
    "system_prompt": _text,
    "description": _text,
}
"""By field: takes where a value stands, for the error's text, and the value; gives what is kept."""


def domain_fields(mapping: Mapping[str, Any], *, name: str | None = None) -> dict[str, Any]:
    """Reads the arguments of a `Domain`.

    Args:
        mapping: plain values by field.
        name: the domain's name, where `mapping` does not say.

    Raises:
        ConfigurationError: a key is not known, or a nested value cannot be right.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigurationError(
            f"domain {name!r} must be a table of its fields, not {_shown(mapping)}"
        )
    named = mapping.get("name", name)
    if named is None:
        raise ConfigurationError("a domain needs a name: name=, or the key name")
    if name is not None and named != name:
        raise ConfigurationError(f"domain {name!r} is named {_shown(named)} within: which one?")
    for key in mapping:
        if key != "name" and key not in CHECKS:
            hint = near(str(key), [*CHECKS, "name"])
            raise ConfigurationError(f"domain {named!r}: {key} is not known: {hint}")
    values = {**mapping, "name": named}
    quality = mapping.get("quality")
    if isinstance(quality, Mapping):
        known = QualityConfig.__dataclass_fields__
        for key in quality:
            if key not in known:
                raise ConfigurationError(
                    f"domain {named!r}: quality.{key} is not known: {near(str(key), known)}"
                )
        try:
            values["quality"] = QualityConfig(**quality)
        except ConfigurationError as error:
            raise ConfigurationError(f"domain {named!r}: quality: {error}") from None
    return values


_Domain = TypeVar("_Domain")


def read_domains(path: str | Path, read: Callable[..., _Domain]) -> dict[str, _Domain]:
    """Reads a TOML file's domains.

    Args:
        path: the file.
        read: makes a domain of a table; its `name` is the table's.

    Raises:
        ConfigurationError: the file cannot be read, or says something that is no domain; the text
            names the file, the domain and the key.
    """
    import tomllib  # noqa: PLC0415 - read only when there is a file

    path = Path(path).expanduser()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the domains file {path} cannot be read: {error}") from error
    for key in content:
        if key != "domains":
            raise ConfigurationError(
                f"{path}: {key} is not known: a domains file has tables [domains.<name>], "
                "and nothing else"
            )
    tables = content.get("domains")
    if not isinstance(tables, dict) or not tables:
        raise ConfigurationError(f"{path} has no domains: write a table [domains.<name>] for each")
    domains = {}
    for name, table in tables.items():
        try:
            domains[name] = read(table, name=name)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error}") from error
    return domains


def _shown(value: Any) -> str:
    """Gives what was given, cut short; an int may have too many digits to be shown at all."""
    try:
        return f"{value!r:.80}"
    except ValueError:
        return "a number of too many digits"
