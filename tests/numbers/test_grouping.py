"""Rows that share something are put together in one place."""

from blipvqa.numbers.grouping import rows_by


def test_rows_by_image_keep_the_order_in_which_images_first_come():
    assert list(rows_by(["b", "a", "b", None]).items()) == [("b", [0, 2]), ("a", [1]), (None, [3])]
    assert rows_by([]) == {}
