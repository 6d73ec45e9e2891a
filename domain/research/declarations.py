"""What the research schema has beside its tables: the vector extension, and shared metrics."""

from domain.db.objects import Extension, Policy, declare
from domain.db.orm import Base
from domain.db.roles import APP

declare(
    Base.metadata,
    Extension("vector"),
    # Beside the policy that shows a tenant its own rows; PostgreSQL joins the two with OR.
    Policy("research", "metrics", "shared", APP, command="SELECT", using="user_id IS NULL"),
)
