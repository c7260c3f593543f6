"""Images, documents, videos and sounds in the form that Amazon Bedrock's converse wants.

It takes bytes, or a place in S3; it fetches no URL. The forms it knows are those of its service
model (`ImageFormat`, `DocumentFormat`, `VideoFormat`, `AudioFormat`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from cascadeflow.errors import InvalidRequestError
from cascadeflow.types import DocumentPart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cascadeflow.types import ImagePart

__all__ = ["Media"]

_FORMATS: Final[Mapping[str, tuple[str, str]]] = {
    "image/gif": ("image", "gif"),
    "image/jpeg": ("image", "jpeg"),
    "image/jpg": ("image", "jpeg"),
    "image/png": ("image", "png"),
    "image/webp": ("image", "webp"),
    "application/json": ("document", "txt"),
    "application/msword": ("document", "doc"),
    "application/pdf": ("document", "pdf"),
    "application/vnd.ms-excel": ("document", "xls"),
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ("document", "xlsx"),
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ("document", "docx"),
    "text/csv": ("document", "csv"),
    "text/html": ("document", "html"),
    "text/markdown": ("document", "md"),
    "video/3gpp": ("video", "three_gp"),
    "video/mp4": ("video", "mp4"),
    "video/mpeg": ("video", "mpeg"),
    "video/quicktime": ("video", "mov"),
    "video/webm": ("video", "webm"),
    "video/x-flv": ("video", "flv"),
    "video/x-matroska": ("video", "mkv"),
    "video/x-ms-wmv": ("video", "wmv"),
    "audio/aac": ("audio", "aac"),
    "audio/flac": ("audio", "flac"),
    "audio/m4a": ("audio", "m4a"),
    "audio/mp3": ("audio", "mp3"),
    "audio/mp4": ("audio", "mp4"),
    "audio/mpeg": ("audio", "mp3"),
    "audio/ogg": ("audio", "ogg"),
    "audio/opus": ("audio", "opus"),
    "audio/wav": ("audio", "wav"),
    "audio/webm": ("audio", "webm"),
    "audio/x-wav": ("audio", "wav"),
}

_ENDINGS: Final[Mapping[str, tuple[str, str]]] = {
    **{form: (kind, form) for kind, form in _FORMATS.values()},
    "3gp": ("video", "three_gp"),
    "htm": ("document", "html"),
    "jpg": ("image", "jpeg"),
    "mp4": ("video", "mp4"),  # and not audio
    "mpg": ("video", "mpeg"),
    "webm": ("video", "webm"),
}
"""What the end of a file's name says, where no media type is given."""

_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9 \-()\[\]]+")
_SPACES: Final = re.compile(r"\s+")
_LONGEST_NAME: Final = 200


class Media:
    """Writes the media of one request; its documents' names must differ from each other.

    Args:
        provider: who is named in an error.
    """

    __slots__ = ("_names", "_provider")

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._names: set[str] = set()

    def block(self, part: ImagePart | DocumentPart) -> dict[str, Any]:
        """Writes one part as a content block.

        Raises:
            InvalidRequestError: it is reached by a URL or an id, or has a form that the protocol
                does not know.
        """
        kind, form = self._format(part)
        content: dict[str, Any] = {"format": form}
        if kind == "document":
            content["name"] = self._name(getattr(part, "name", None))
        content["source"] = self._source(part)
        return {kind: content}

    def _format(self, part: ImagePart | DocumentPart) -> tuple[str, str]:
        media_type = (part.media_type or "").partition(";")[0].strip().lower()
        found = _FORMATS.get(media_type)
        if found is None and media_type.startswith("text/"):
            found = ("document", "txt")
        if found is None and not media_type:
            for address in (part.url, getattr(part, "name", None)):
                ending = (address or "").rpartition(".")[2].lower()
                found = found or _ENDINGS.get(ending)
        if found is None:
            raise InvalidRequestError(
                f"{self._provider} does not know the form {media_type or 'of a part'!r}: set "
                f"media_type to one of {', '.join(sorted(_FORMATS))} or text/…"
            )
        return found

    def _source(self, part: ImagePart | DocumentPart) -> dict[str, Any]:
        if isinstance(part, DocumentPart) and part.file_id is not None:
            raise InvalidRequestError(
                f"{self._provider} has no files by id: give data (base64), or an s3:// url"
            )
        if part.data is not None:
            return {"bytes": part.data}
        if part.url is not None and part.url.startswith("s3://"):
            return {"s3Location": {"uri": part.url}}
        raise InvalidRequestError(
            f"{self._provider} fetches no URL: give {type(part).__name__} its data (base64) with "
            "its media_type, or an s3:// url"
        )

    def _name(self, name: str | None) -> str:
        """The protocol allows letters, digits, single spaces, hyphens, parentheses and brackets."""
        if name is None:
            name = f"Document {len(self._names) + 1}"
        cleaned = _SPACES.sub(" ", _NOT_IN_A_NAME.sub("-", name)).strip()
        cleaned = cleaned[:_LONGEST_NAME].strip() or "Document"
        unique, number = cleaned, 1
        while unique.lower() in self._names:
            number += 1
            ending = f" ({number})"
            unique = cleaned[: _LONGEST_NAME - len(ending)] + ending
        self._names.add(unique.lower())
        return unique
