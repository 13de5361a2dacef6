"""A draft keeps account of what is the original's and what a block put in."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runner.edits.draft import Draft, Kept, New

LINES = st.lists(st.sampled_from(["a\n", "bb\n", "\n", "ccc\n"]), max_size=12)


@settings(max_examples=300, deadline=None)
@given(LINES, st.data())
def test_parts_make_the_text_and_know_where_it_is_from(
    lines: list[str], data: st.DataObject
) -> None:
    draft = Draft("".join(lines))
    versions = [draft.text]
    for block in range(1, data.draw(st.integers(1, 8)) + 1):
        present = draft.text.splitlines(keepends=True)
        low = data.draw(st.integers(0, len(present)))
        high = data.draw(st.integers(low, len(present)))
        start, end = len("".join(present[:low])), len("".join(present[:high]))
        middle = data.draw(st.integers(start, end))
        keep = data.draw(st.booleans())
        new = data.draw(st.sampled_from(["", "new\n", "n\nm\n"]))
        before, after = draft.text[:start], draft.text[end:]
        kept = draft.text[middle:end] if keep else ""
        draft.splice(start, end, [new, *([(middle, end)] if keep else [])], block)
        assert draft.text == before + new + kept + after
        versions.append(draft.text)
    parts = [
        draft.original[part.start : part.end] if isinstance(part, Kept) else part.text
        for part in draft.parts
    ]
    assert "".join(parts) == draft.text
    position = 0
    for part, text in zip(draft.parts, parts, strict=True):
        for offset in range(position, position + len(text)):
            line = draft.original_line(offset)
            if isinstance(part, New):
                assert line is None and draft.block_at(offset) == part.block
            else:
                place = part.start + offset - position
                assert line == draft.original.count("\n", 0, place) + 1
        position += len(text)
    assert [text for _, text in draft.earlier()] == versions[-2::-1]
    made = draft.original
    for change in reversed(draft.changes()):
        made = made[: change.low] + change.new + made[change.high :]
    assert made == draft.text


def test_neighbours_are_joined_again() -> None:
    draft = Draft("a\nb\nc\n")
    for block in range(50):
        draft.splice(2, 4, ["x\n"], block)
        draft.splice(2, 4, ["y\n", "z\n"], block)
        draft.splice(2, 6, [], block)
        draft.splice(2, 2, ["b\n"], block)
    assert len(draft.parts) == 3
