"""Our admin against stock Django admin, sqladmin and starlette-admin on one table of trades."""
