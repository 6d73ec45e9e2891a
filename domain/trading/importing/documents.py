"""From the bytes of an uploaded file to its text, or a refusal that says what the file is.

Size, encoding and file type are judged here; what the text means is the parsers' business.
"""

from typing import Final

from domain.errors import InvalidData

MAX_BYTES: Final = 200 * 1024 * 1024

_SIGNATURES: Final = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF document"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"\xff\xfe", "text in UTF-16"),
    (b"\xfe\xff", "text in UTF-16"),
)
_HTML_STARTS: Final = ("<!doctype html", "<html")
_SNIFFED: Final = 200


def read_csv_text(content: bytes) -> str:
    """Return the text of a CSV file.

    Args:
        content: The file, at most 200 MB.

    Raises:
        InvalidData: Too large, another kind of file, or not UTF-8.
    """
    text = decode(content, "CSV text")
    start = _start(text)
    if start.startswith("<"):
        kind = "an HTML page" if start.startswith(_HTML_STARTS) else "an XML document"
        raise _refusal(text, f"be CSV text; this is {kind}")
    return text


def read_xml_text(content: bytes) -> str:
    """Return the text of an XML file.

    Args:
        content: The file, at most 200 MB.

    Raises:
        InvalidData: Too large, another kind of file, or not UTF-8.
    """
    text = decode(content, "XML")
    start = _start(text)
    if start.startswith(_HTML_STARTS):
        raise _refusal(text, "be XML; this is an HTML page")
    if not start.startswith("<"):
        raise _refusal(text, "be XML; this does not begin with <")
    return text


def decode(content: bytes, expected: str) -> str:
    """Return `content` as text, without a byte order mark.

    Args:
        content: The file, at most 200 MB.
        expected: What the file should be, for the error.

    Raises:
        InvalidData: Too large, another kind of file, or not UTF-8.
    """
    if len(content) > MAX_BYTES:
        raise InvalidData("file", f"{len(content)} bytes", f"have at most {MAX_BYTES} bytes")
    for signature, kind in _SIGNATURES:
        if content.startswith(signature):
            raise InvalidData("file", content[:8], f"be {expected}; this is {kind}")
    if b"\0" in content[:_SNIFFED]:
        raise InvalidData("file", content[:8], f"be {expected} in UTF-8; it has NUL bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad = content[error.start : error.start + 8]
        rule = f"be {expected} in UTF-8; byte {error.start} is not"
        raise InvalidData("file", bad, rule) from error


def _start(text: str) -> str:
    return text[:_SNIFFED].lstrip().lower()


def _refusal(text: str, rule: str) -> InvalidData:
    return InvalidData("file", text[:_SNIFFED], rule)
