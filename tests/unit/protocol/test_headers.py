"""Headers of programs: what can be sent, and what is refused before it is."""

from typing import Any

import pytest

from amphora.protocol.headers import check_headers


def test_plain_values_pass_as_a_copy() -> None:
    given = {"trace": "t1", "tries": 3, "rate": 0.5, "sampled": True, "parent": None, "größe": "ß"}

    checked = check_headers(given)

    assert checked == given
    assert checked is not given


@pytest.mark.parametrize("value", [b"bytes", ["list"], {"a": 1}, object()])
def test_other_values_are_refused_by_their_type(value: Any) -> None:
    with pytest.raises(TypeError, match="header 'trace' must be a str, int, float, bool or None"):
        check_headers({"trace": value})


def test_a_name_is_text() -> None:
    with pytest.raises(TypeError, match="must be a str, not 7"):
        check_headers({7: "x"})  # type: ignore[dict-item]


@pytest.mark.parametrize("name", ["x-amphora-deadline", "X-Amphora-anything"])
def test_amphoras_own_names_are_reserved(name: str) -> None:
    with pytest.raises(ValueError, match="Amphora's own"):
        check_headers({name: "x"})


@pytest.mark.parametrize("name", ["", "n" * 256, "ß" * 128])
def test_a_name_fits_into_a_short_string(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 255 bytes"):
        check_headers({name: "x"})


@pytest.mark.parametrize("value", [1 << 63, -(1 << 63) - 1])
def test_an_integer_has_64_bits(value: int) -> None:
    assert check_headers({"least": -(1 << 63), "most": (1 << 63) - 1})

    with pytest.raises(ValueError, match="64 bits"):
        check_headers({"number": value})


def test_all_together_fit_into_the_smallest_frame() -> None:
    assert check_headers({"x": "y" * 3071})

    with pytest.raises(ValueError, match="3072 bytes together, not 3073"):
        check_headers({"x": "y" * 3072})
