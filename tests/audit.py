"""What app.audit_all finds, in words."""

from bakehouse.database import Connection


def audit(db: Connection) -> dict[str, str]:
    """Returns each invariant that does not hold, with its store, its number and an example."""
    return {
        str(name): f"{store or 'every store'}: {count}, such as: {example}"
        for name, store, count, example in db.execute(
            "select name, store, violations, example from app.audit_all()"
        )
    }
