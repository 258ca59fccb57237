"""The output check as a table."""

from __future__ import annotations

import time

import pytest

from ingestd.worker.models.transformers_.quality import Odd, odd, worse

FINE = [
    "A cat sits on a red sofa next to a window, looking at the street below.",
    "A very, very, very small boat.",  # a way to speak
    "Ha ha ha ha!",
    "The sign reads 'NO NO NO' in red letters above the door of the old shop.",
    "Two dogs run. Two cats sleep.",
    "The image shows a man. The image shows a dog. The man and the dog are on a beach at sunset.",
    "A man in a blue shirt and a man in a white shirt stand beside a man in a red shirt.",
    "1000000000",
    "........... the end",
    "一只猫坐在红色沙发上,看着窗外的街道。",
    # Said twice, which happens; thrice would be a loop.
    "A small white dog lies on the grass. A small white dog lies on the grass.",
    "Chairs, tables, lamps, vases, books, plates, cups, bowls, forks, knives, spoons and glasses fill the room.",
]

LOOPS = [
    "no no no no no no no no",
    "A red car, a red car, a red car, a red car",
    "the the the the the the the the the the",
    "In the picture there is a cat and a dog and a cat and a dog and a cat and a dog and a cat and a dog",
    "A dog on the grass. A dog on the grass. A dog on the grass.",
    "The man wears a hat. The hat is black. The man wears a hat. The hat is blue. The man wears a hat. The hat is red. "
    "The man wears a hat. The hat is white.",
    "chchchchchchchchchchchchchch",
    "猫和狗和猫和狗和猫和狗和猫和狗和猫和狗和猫和狗和猫和狗和猫和狗和",
    "=" * 40 + " title",
]


@pytest.mark.parametrize("text", FINE)
def test_what_people_write_is_fine(text: str) -> None:
    """Lists, emphasis and one repetition are no loops; the limit alone makes it odd."""
    assert odd(text, ended=True) == ""
    assert odd(text, ended=False) == "cut"


@pytest.mark.parametrize("text", LOOPS)
@pytest.mark.parametrize("ended", [True, False])
def test_loops_are_seen(text: str, ended: bool) -> None:
    """A phrase again and again is a loop, whether or not the model found an end."""
    assert odd(text, ended=ended) == "loop"


@pytest.mark.parametrize("text", ["", " \n", ".", "...", "\ufffd\ufffd", "- \u2014 -"])
def test_a_text_without_a_letter_is_empty(text: str) -> None:
    """Nothing to read, nothing to find."""
    assert odd(text, ended=True) == odd(text, ended=False) == "empty"


def test_long_texts_take_no_time() -> None:
    """The time grows as the text does: of thirty thousand words too, whatever they are; and a loop in them is seen."""
    words = [f"word{n}" for n in range(30_000)]
    began = time.process_time()
    assert odd(" ".join(words), ended=True) == ""
    assert odd(" ".join(words[:300] * 3), ended=True) == "loop"
    assert time.process_time() - began < 5
    assert odd("ab" * 5000 + "c", ended=True) == "loop"
    assert odd("".join(chr(0x4E00 + n * n % 5000) for n in range(4000)), ended=True) == ""


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [("cut", "", True), ("loop", "cut", True), ("empty", "loop", True), ("cut", "cut", False), ("", "cut", False)],
)
def test_which_attempt_is_worse(first: Odd, second: Odd, expected: bool) -> None:
    """Cut texts help more than loops, loops more than nothing; of equals neither is worse."""
    assert worse(first, second) is expected
