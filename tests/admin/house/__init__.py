"""A view that somebody else wrote, as `docs/pages/admin.md` shows it: what it says is gathered."""

from admin.records import RecordView
from domain.journal.models import Setup


class HouseView(RecordView, model=Setup):
    """Not registered: its names are all that is asked for."""

    name, name_plural, path, category = "Note of the house", "Notes of the house", "notes", "House"
    columns = ("name", "archived_at")
