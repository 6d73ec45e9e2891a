"""The web admin: sqladmin's registry, menu and options on a data path that never harms data.

`admin.app.create_app` builds the Starlette application. Nothing here decides what is true about
money: it asks the domain.
"""
