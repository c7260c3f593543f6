"""Images and documents in a Gemini request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cascadeflow.errors import InvalidRequestError
from cascadeflow.types import DocumentPart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cascadeflow.types import ImagePart

__all__ = ["encode_media"]

_FILES: Final = "https://generativelanguage.googleapis.com/v1beta/"

_MEDIA_TYPES: Final[Mapping[str, str]] = {
    "aac": "audio/aac",
    "aiff": "audio/aiff",
    "avif": "image/avif",
    "bmp": "image/bmp",
    "css": "text/css",
    "csv": "text/csv",
    "flac": "audio/flac",
    "flv": "video/x-flv",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "htm": "text/html",
    "html": "text/html",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "json": "application/json",
    "md": "text/markdown",
    "mov": "video/quicktime",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "mpg": "video/mpeg",
    "ogg": "audio/ogg",
    "pdf": "application/pdf",
    "png": "image/png",
    "txt": "text/plain",
    "wav": "audio/wav",
    "webm": "video/webm",
    "webp": "image/webp",
    "wmv": "video/x-ms-wmv",
    "xml": "text/xml",
    "3gp": "video/3gpp",
}
"""By a file name's ending: what Gemini reads. Each system's own table is another."""


def encode_media(part: ImagePart | DocumentPart, *, vertex: bool) -> dict[str, Any]:
    """Writes an image or a document: its data, or where it is.

    Args:
        part: the image or document.
        vertex: whether it is for Vertex, which wants each file's media type, and knows names.

    Raises:
        InvalidRequestError: it says neither what it holds nor where that is, or Vertex cannot know
            what kind of file it is.
    """
    media_type, data = part.media_type, part.data
    names: dict[str, Any] = {}
    if vertex and isinstance(part, DocumentPart) and part.name is not None:
        names["displayName"] = part.name
    uri = _address(part, vertex=vertex)
    if uri is not None and uri.startswith("data:"):
        kind, _, data = uri.removeprefix("data:").partition(",")
        media_type = media_type or kind.partition(";")[0] or None
        if not kind.endswith(";base64"):
            raise InvalidRequestError("a data: URL must be base64: data:image/png;base64,…")
        uri = None
    if uri is None:
        if data is None or media_type is None:
            raise InvalidRequestError(
                f"{type(part).__name__} needs a url, or data (base64) with its media_type"
            )
        return {"inlineData": {"mimeType": media_type, "data": data, **names}}
    media_type = media_type or _guess(uri)
    if media_type is not None:
        return {"fileData": {"mimeType": media_type, "fileUri": uri, **names}}
    if vertex:
        raise InvalidRequestError(
            f"Vertex must be told what kind of file {uri} is: set media_type, such as 'image/png'"
        )
    return {"fileData": {"fileUri": uri, **names}}


def _address(part: ImagePart | DocumentPart, *, vertex: bool) -> str | None:
    file_id = part.file_id if isinstance(part, DocumentPart) else None
    if file_id is None or "://" in file_id:
        return file_id or part.url
    if vertex:
        raise InvalidRequestError(
            f"Vertex has no files by id, such as {file_id!r}: send the file's data, or its address "
            "in a bucket (gs://…)"
        )
    return f"{_FILES}{file_id if file_id.startswith('files/') else f'files/{file_id}'}"


def _guess(uri: str) -> str | None:
    """Tells a file's media type by its name's ending; YouTube has videos."""
    path = uri.partition("?")[0].partition("#")[0]
    host = uri.partition("://")[2].partition("/")[0].removeprefix("www.").removeprefix("m.")
    if host in ("youtube.com", "youtu.be"):
        return "video/mp4"
    return _MEDIA_TYPES.get(path.rpartition("/")[2].rpartition(".")[2].lower())
