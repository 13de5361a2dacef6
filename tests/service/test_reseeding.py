"""Which seeds of a program are found, and that nothing else of it is touched."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runner.service.reseeding import SEEDS, move_seeds
from agent_runner.templates import default_folder

MOVED = [
    ("SEED = 42", "SEED = 43"),
    ("seed: int = 0", "seed: int = 1"),
    ("self.random_state = 7", "self.random_state = 8"),
    ("SEEDS = [1, 2, 3]", "SEEDS = [2, 3, 4]"),
    ("torch.manual_seed(0)", "torch.manual_seed(1)"),
    ("np.random.seed(1_337); x = 5", "np.random.seed(1338); x = 5"),
    ("rng = np.random.default_rng(0x10)", "rng = np.random.default_rng(17)"),
    ("r = random.Random(3)", "r = random.Random(4)"),
    ("split(x, test_size=2, random_state=2)", "split(x, test_size=2, random_state=3)"),
    ('config = {"seed": 5, "size": 5}', 'config = {"seed": 6, "size": 5}'),
    ("def train(steps=3, *, seed=3): ...", "def train(steps=3, *, seed=4): ..."),
    ("train = lambda n=1, seed=1: n", "train = lambda n=1, seed=2: n"),
    (
        'p.add_argument("--random-seed", type=int, default=9)',
        'p.add_argument("--random-seed", type=int, default=10)',
    ),
    ("name = 'grün'; SEED = 1", "name = 'grün'; SEED = 2"),
    ("for seed in [0, 1, 2]: ...", "for seed in [1, 2, 3]: ..."),
    ("runs = [train(seed) for seed in (3, 4)]", "runs = [train(seed) for seed in (4, 5)]"),
    ("seed = 42 if quick else 43", "seed = 43 if quick else 44"),
    ("seed = args.seed or 7", "seed = args.seed or 8"),
    ("config['seed'] = 7", "config['seed'] = 8"),
    ("if (seed := 7): ...", "if (seed := 8): ..."),
    ("def train(*, seeds=(1, 2)): ...", "def train(*, seeds=(2, 3)): ..."),
    ("fixed_seed = 4", "fixed_seed = 5"),
]
UNTOUCHED = [
    "size = 42",
    "num_seeds = 3",
    "train(n_seeds=5)",
    "NUM_SEEDS: int = 5",
    "def train(number_of_seeds=3, *, seed_count=2): ...",
    "use_seed = 0",
    "self.has_seed = 1",
    "max_seed = 4294967295",
    'config = {"seed_length": 5}',
    "seeds = 5",
    'p.add_argument("--num-seeds", type=int, default=3)',
    'p.add_argument("--seeds", type=int, default=3)',
    "for seed in range(3): ...",
    "for num_seeds in [1, 2]: ...",
    "seed = 3 * base if 4 else other",
    "SEED = -1",
    "SEED = " + "x or " * 2000 + "1 if y else " * 2000 + "2",
    "SEED = None",
    "SEED = True",
    "SEED = BASE + 1",
    "seedling = 3",
    "proceeds = 4",
    "torch.manual_seed(SEED)",
    "train(3)",
    "def broken(:",
    "SEED = 1\x00",
    "x = 1\rSEED = 1",
    "",
]


@pytest.mark.parametrize(("before", "after"), MOVED)
def test_every_form_of_a_seed_is_moved(before: str, after: str) -> None:
    text, moved = move_seeds(f"# first\n{before}\n", 1)
    assert text == f"# first\n{after}\n"
    assert {seed.line for seed in moved} == {2}
    assert all(seed.moved == seed.value + 1 for seed in moved)


@pytest.mark.parametrize("text", UNTOUCHED)
def test_nothing_else_is(text: str) -> None:
    assert move_seeds(text, 1) == (text, ())


def test_the_default_templates_seed_is_found() -> None:
    text = (default_folder() / "experiment.py").read_text()
    moved_text, moved = move_seeds(text, 5)
    assert [(seed.value, seed.moved) for seed in moved] == [(42, 47)]
    assert moved_text == text.replace("SEED = 42", "SEED = 47")


@pytest.mark.parametrize(
    ("value", "offset", "moved"),
    [
        (2**32 - 1, 1, 0),
        (2**32 - 2, 1, 2**32 - 1),
        (5, 2**32 - 1, 4),
        (2**32, 1, 2**32 + 1),  # never was one for numpy
        (2**64 - 1, 1, 0),
    ],
)
def test_a_moved_seed_is_one_that_its_library_takes(value: int, offset: int, moved: int) -> None:
    text, (seed,) = move_seeds(f"SEED = {value}", offset)
    assert (text, seed.value, seed.moved) == (f"SEED = {moved}", value, moved)


@given(st.integers(0, SEEDS - 1), st.integers(1, SEEDS - 1))
def test_a_seed_always_moves_and_stays_in_range(value: int, offset: int) -> None:
    _, (seed,) = move_seeds(f"SEED = {value}", offset)
    assert seed.moved != value and 0 <= seed.moved < SEEDS


@given(st.lists(st.sampled_from([b for b, _ in MOVED]), max_size=8), st.integers(0, 10_000))
def test_moving_there_and_back_changes_no_meaning(lines: list[str], offset: int) -> None:
    text = "\n".join(lines)
    there, moved = move_seeds(text, offset)
    back, again = move_seeds(there, -offset)
    assert len(moved) == len(again)
    assert ast.dump(ast.parse(back)) == ast.dump(ast.parse(text))
