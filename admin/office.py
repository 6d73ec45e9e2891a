"""What every group of pages works with: the database and the templates."""

from dataclasses import dataclass

from admin.pages import Pages
from domain.database import Database


@dataclass(frozen=True, slots=True)
class Office:
    """The two things that pages need.

    Args:
        db: An open database.
        pages: Renders templates.
    """

    db: Database
    pages: Pages
