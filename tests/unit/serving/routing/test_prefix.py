"""Prompts that begin alike, and who is taken to have them."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.serving.routing.prefix import BLOCK_BYTES, BLOCK_TOKENS, MOST_BLOCKS, PrefixTable, chain


@given(shared=st.integers(0, 6), tails=st.tuples(st.integers(0, 5), st.integers(0, 5)))
def test_chains_agree_as_far_as_the_prompts_do(shared: int, tails: tuple[int, int]) -> None:
    head = b"h" * shared * BLOCK_BYTES
    one, other = (chain(head + letter * tail * BLOCK_BYTES, b"seed") for letter, tail in zip((b"a", b"b"), tails, strict=True))
    assert one[:shared] == other[:shared]
    assert not set(one[shared:]) & set(other[shared:])
    assert (len(one), len(other)) == (shared + tails[0], shared + tails[1])


def test_prefix_chain_is_empty_below_one_block_and_capped_for_long_prompts() -> None:
    assert chain(b"x" * (BLOCK_BYTES - 1), b"") == ()
    assert len(chain(b"x" * 1_000_000, b"")) == MOST_BLOCKS


def test_tenants_and_adapters_share_nothing() -> None:
    prompt = b"x" * 4 * BLOCK_BYTES
    assert not set(chain(prompt, b"org_a model")) & set(chain(prompt, b"org_b model"))
    assert not set(chain(prompt, b"org_a model")) & set(chain(prompt, b"org_a adapter"))


def test_who_has_how_much_of_a_prompt() -> None:
    table = PrefixTable()
    long, short = chain(b"x" * 4 * BLOCK_BYTES, b""), chain(b"x" * 2 * BLOCK_BYTES, b"")
    table.learn(long, "a")
    table.learn(short, "b")
    assert table.cached(long) == {"a": 4 * BLOCK_TOKENS, "b": 2 * BLOCK_TOKENS}
    assert table.cached(short) == {"a": 2 * BLOCK_TOKENS, "b": 2 * BLOCK_TOKENS}
    assert table.cached(chain(b"y" * 4 * BLOCK_BYTES, b"")) == {}
    table.forget("a")
    assert table.cached(long) == {"b": 2 * BLOCK_TOKENS}
    table.forget("b")
    assert len(table) == 0


def test_the_least_recently_used_end_of_a_chain_goes_first() -> None:
    table = PrefixTable(capacity_blocks=4)
    old, new = chain(b"o" * 4 * BLOCK_BYTES, b""), chain(b"n" * 2 * BLOCK_BYTES, b"")
    table.learn(old, "a")
    table.learn(new, "a")
    assert len(table) == 4
    assert table.cached(old) == {"a": 2 * BLOCK_TOKENS}
    assert table.cached(new) == {"a": 2 * BLOCK_TOKENS}
