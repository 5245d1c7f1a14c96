"""How a number of things reads in a sentence: "1 row", "2 rows", "1,024 rows"."""


def how_many(count: int, one: str, several: str | None = None) -> str:
    """A number with what it counts, which may go on with a verb: `how_many(n, "row has", "rows have")`.

    `several` is what stands after any number but 1; by default `one` with an s.
    """
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def of_all(count: int, all_of: int, one: str, verb: str, verbs: str) -> str:
    """A part of a number of things, with its verb: "1 of 10 rows has", "2 of 10 rows have"."""
    return f"{count:,} of {how_many(all_of, one)} {verb if count == 1 else verbs}"
