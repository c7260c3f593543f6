"""Finding what a conversation gives the model to answer from: pasted texts and tools' results."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cascadeflow.types import Message

__all__ = ["asked_beside", "documents_of"]

SHORTEST: Final = 40
"""Characters from which a marked text, or a tool's result, is a document."""

SHORTEST_UNMARKED: Final = 240
"""Characters from which a paragraph of a request that speaks of a text is that text."""

LONGEST_READ: Final = 32_000
"""Characters beyond which a message is a document as a whole: most of it must be pasted text, and
looking for its parts would hold up the event loop."""

_ENDS: Final = 600
"""Characters at both ends of a message that are looked through for what is wanted."""

_TAGS: Final = (
    "article context doc document documents excerpt knowledge passage source sources text "
    "transcript"
)
_TAG: Final = re.compile(rf"<({'|'.join(_TAGS.split())})\b[^<>]{{0,200}}>", re.IGNORECASE)
_MARK: Final = re.compile(rf"</?(?:{'|'.join(_TAGS.split())})\b[^<>]{{0,200}}>", re.IGNORECASE)
_FENCED: Final = re.compile(
    # Triple quotes that stand further in are Python's, as a rule.
    r'^"""[ \t]*\n?(.*?)"""|^```(?:text|txt|md|markdown)[ \t]*\n(.*?)```',
    re.DOTALL | re.MULTILINE,
)
_HEADED: Final = re.compile(
    r"^[#* \t]{0,6}(?:the )?(?:article|background|context|document|excerpt|knowledge|notes|passage|"
    r"report|source|sources|text|transcript|e-?mail|kontext|dokument|artikel|contexte|"
    r"contexto|documento|texto|testo|contesto)(?: ?\d{1,3})? ?[*]{0,2}[:\uff1a][*]{0,2}",
    re.IGNORECASE | re.MULTILINE,
)
_ASKED: Final = re.compile(
    r"^[#* \t]{0,6}(?:question|query|task|instructions?|answer|frage|aufgabe|pregunta|domanda|"
    r"tarea|pergunta|consigne) ?[*]{0,2}[:\uff1a]",
    re.IGNORECASE | re.MULTILINE,
)
_SPEAKS_OF_A_TEXT: Final = re.compile(
    r"\b(?:summar\w+|summary|tl;?dr|according to|based (?:only )?on|(?:the|this|following|above|"
    r"below) (?:article|document|e-?mail|excerpt|letter|memo|message|notes|page|paragraph|passage|"
    r"post|report|review|text|thread|transcript)|key points|main points|minutes of|extract|"
    r"zusammenfass\w*|fasse\b|laut|résum\w+|d'après|selon|resum\w+|según|riassum\w+|secondo)",
    re.IGNORECASE,
)

_MAKES_ANOTHER_TEXT: Final = re.compile(
    r"\b(?:translat\w+|rewrit\w+|rephras\w+|paraphras\w+|proofread\w*|continue|classify|"
    r"sentiment|(?:fix|correct|improve) (?:the|this|my)|(?:reply|respond|response|answer) to "
    r"(?:the|this|that|my|her|his) (?:comment|e-?mail|letter|message|post|review)|"
    r"(?:write|draft|compose) (?:me )?(?:an? |the )?(?:\w+ ){0,2}(?:poem|reply|response|sequel|"
    r"song|story)|übersetz\w*|umschreib\w*|tradui\w+|reformul\w+|traduc\w+|tradu[zç]\w+|"
    r"riscriv\w+)",
    re.IGNORECASE,
)
"""Requests whose answers say other things than the text, or the same in other words."""


def documents_of(messages: Sequence[Message]) -> tuple[str, ...]:
    """Gives the texts that an answer should rest on, in the order in which they came, each once.

    These are the results of tools; what stands in tags such as `<document>`, in triple quotes, or
    under a heading such as `Context:` in what the user or the system says; and the long paragraphs
    of a user's message that speaks of a text (“summarise the article below …”). A long message that
    only asks or tells is none: it is not what answers are taken from.

    Args:
        messages: the conversation.
    """
    asked = next((each.text for each in reversed(messages) if each.role == "user"), "")
    if _MAKES_ANOTHER_TEXT.search(_ends(asked)) is not None:
        return ()
    found: dict[str, None] = {}
    for message in messages:
        if message.role == "assistant":
            continue
        text = message.text
        if message.role == "tool":
            parts = iter([text])
        else:
            parts = _parts(text, unmarked=message.role == "user")
        for part in parts:
            plain = part.strip()
            if len(plain) >= SHORTEST:
                found.setdefault(plain)
    return tuple(found)


def asked_beside(text: str, documents: Sequence[str]) -> str:
    """Gives what a message asks beside the documents in it.

    That is nothing where it asks for what the text says (“summarise …”): it has no word of an
    answer to that.

    Args:
        text: the user's message.
        documents: what `documents_of` found.
    """
    for document in documents:
        text = text.replace(document, " ")
    for mark in (_MARK, _HEADED, _ASKED):
        text = mark.sub(" ", text)
    return "" if _SPEAKS_OF_A_TEXT.search(_ends(text)) is not None else text


def _parts(text: str, *, unmarked: bool) -> Iterator[str]:
    if len(text) < SHORTEST:
        return
    if len(text) > LONGEST_READ:
        yield text
        return
    marked = list(_in_tags(text))
    marked += [first or second for first, second in _FENCED.findall(text)]
    marked = marked or list(_under_headings(text))
    if marked or not unmarked:
        yield from marked
        return
    # What is wanted stands before the text or behind it.
    if _SPEAKS_OF_A_TEXT.search(_ends(text)) is None:
        return
    for paragraph in re.split(r"\n[ \t\r]*\n", text):
        if len(paragraph.strip()) >= SHORTEST_UNMARKED:
            yield paragraph


def _ends(text: str) -> str:
    return text if len(text) <= 2 * _ENDS else f"{text[:_ENDS]}\n{text[-_ENDS:]}"


def _in_tags(text: str) -> Iterator[str]:
    """What stands in tags; an opening one that is never closed opens nothing."""
    lowered, at, unclosed = text.lower(), 0, set()
    if len(lowered) != len(text):  # a letter whose lower case is two
        lowered = text
    while (start := _TAG.search(text, at)) is not None:
        at = start.end()
        closing = f"</{start.group(1).lower()}"
        if closing in unclosed:
            continue
        end = lowered.find(closing, at)
        if end < 0:
            unclosed.add(closing)
            continue
        yield text[at:end]
        at = end + len(closing)


def _under_headings(text: str) -> Iterator[str]:
    """What stands under headings of a text, each up to the next one or to the question."""
    starts = list(_HEADED.finditer(text))
    for at, start in enumerate(starts):
        end = starts[at + 1].start() if at + 1 < len(starts) else len(text)
        part = text[start.end() : end]
        asked = _ASKED.search(part)
        yield part[: asked.start()] if asked is not None else part
