"""How a trained index is called where nobody says."""


def jpq_name(name: str) -> str:
    """Return the name of the index that is trained from one of that name: `X.jpq-m24` for `X.opq-m24`."""
    return name.replace(".opq", ".jpq") if ".opq" in name else f"{name}.jpq"
