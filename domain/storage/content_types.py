"""Media types by filename. What a browser would run is served as plain bytes."""

from typing import Final

DEFAULT: Final = "application/octet-stream"

_KNOWN: Final = {
    "csv": "text/csv",
    "gif": "image/gif",
    "gz": "application/gzip",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "md": "text/markdown",
    "parquet": "application/vnd.apache.parquet",
    "pdf": "application/pdf",
    "png": "image/png",
    "sql": "application/sql",
    "txt": "text/plain",
    "webp": "image/webp",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "zip": "application/zip",
}


def content_type_of(filename: str) -> str:
    """Return the media type of a filename; HTML, SVG and unknown ones are plain bytes.

    Example:
        >>> content_type_of("report.PDF"), content_type_of("page.html")
        ('application/pdf', 'application/octet-stream')
    """
    _, dot, extension = filename.rpartition(".")
    return _KNOWN.get(extension.lower(), DEFAULT) if dot else DEFAULT
