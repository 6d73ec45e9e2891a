"""Everything that knows PostgreSQL: engines, units of work, repositories, pages, bulk paths.

Knows no table of the business; the areas above declare theirs on `domain.db.orm.Base`.
"""
