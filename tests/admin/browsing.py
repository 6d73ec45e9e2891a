"""What a browser does with a page, without one: finds its forms, links and inline code."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from httpx2 import AsyncClient, Response


@dataclass
class Form:
    """A form as a browser would submit it."""

    action: str
    method: str
    values: dict[str, str] = field(default_factory=dict)

    def submitted(self, **changes: str) -> dict[str, str]:
        """Return the form's data with line ends as browsers send them."""
        data = {**self.values, **changes}
        return {
            name: text.replace("\r\n", "\n").replace("\n", "\r\n") for name, text in data.items()
        }


class Page(HTMLParser):
    """A parsed page."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.html = html
        self.forms: list[Form] = []
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self.words: list[str] = []
        self._form: Form | None = None
        self._area: str | None = None
        self._select: str | None = None
        self._tag = ""
        self._is_blank = False
        self.feed(html)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def form(self, ending: str = "", *, method: str = "post") -> Form:
        """Return the only form of this method whose action ends like this."""
        (found,) = [
            form
            for form in self.forms
            if form.method == method
            and form.action.endswith(ending)
            and "logout" not in form.action
        ]
        return found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._tag = tag
        self.addresses += [
            given[name] for name in ("href", "src", "action", "data-lookup") if name in given
        ]
        self.inline += [
            f"{tag} {name}" for name in given if name == "style" or name.startswith("on")
        ]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)
        if tag == "form":
            self._form = Form(given.get("action", ""), given.get("method", "get"))
            self.forms.append(self._form)
        self._is_blank = self._is_blank or tag == "template"
        if self._form is not None and not self._is_blank:
            self._control(tag, given)

    def _control(self, tag: str, given: dict[str, str]) -> None:
        assert self._form is not None
        name = given.get("name", "")
        is_off = given.get("type") in {"checkbox", "radio"} and "checked" not in given
        if tag == "input" and not is_off:
            self._form.values[name] = given.get("value", "")
        elif tag == "textarea":
            self._area = name
            self._form.values[name] = ""
        elif tag == "select":
            self._select = name
        elif (
            tag == "option"
            and self._select is not None
            and ("selected" in given or self._select not in self._form.values)
        ):
            self._form.values[self._select] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "template":
            self._is_blank = False
        elif tag == "textarea" and self._form is not None and self._area is not None:
            # A browser drops the one line feed that follows the tag.
            self._form.values[self._area] = self._form.values[self._area].removeprefix("\n")
            self._area = None
        elif tag == "select":
            self._select = None

    def handle_data(self, data: str) -> None:
        if self._area is not None and self._form is not None:
            self._form.values[self._area] += data
        elif self._tag not in {"script", "style"}:
            self.words.append(data)


async def visit(client: AsyncClient, path: str, *, status: int = 200) -> Page:
    """Return the page at `path` below the admin."""
    response = await client.get(f"/admin{path}")
    assert response.status_code == status, (path, response.status_code, response.text[:500])
    return Page(response.text)


async def send(client: AsyncClient, path: str, data: dict[str, str] | None = None) -> Response:
    """Post a form as the admin's own pages do."""
    headers = {"sec-fetch-site": "same-origin"}
    return await client.post(f"/admin{path}", data=data or {}, headers=headers)


def links(page: Page, beginning: str) -> list[str]:
    """Return the distinct links below the admin that begin like this, in order."""
    found = [item.removeprefix("/admin") for item in page.addresses]
    return list(dict.fromkeys(item for item in found if item.startswith(beginning)))


def key_of(record: Any) -> str:
    """Return a record's id as it stands in addresses."""
    return str(record.id)
