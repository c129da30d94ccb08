"""United merges, on words short enough to follow by hand."""

from __future__ import annotations

from cuvee.tokens.bpe import divide, unite_merges


def ids(*tokens: str) -> dict[str, int]:
    return {token: number for number, token in enumerate(tokens)}


def test_pieces_are_joined_by_rank() -> None:
    assert divide("abc", {("a", "b"): 0, ("b", "c"): 1}) == ["ab", "c"]
    assert divide("abc", {("b", "c"): 0, ("a", "b"): 1}) == ["a", "bc"]
    assert divide("aaa", {("a", "a"): 0}) == ["aa", "a"]


def test_continued_pieces_have_their_prefix() -> None:
    assert divide("abc", {("a", "##b"): 0}, "##") == ["ab", "##c"]
    assert divide("##ab", {("##a", "##b"): 0}, "##") == ["##ab"]


def test_the_bases_merges_come_first() -> None:
    made = unite_merges([("a", "b")], [[("b", "c"), ("a", "b")]], ids("a", "b", "c", "ab", "bc"), ["bc"], "")
    assert made.pairs == (("a", "b"), ("b", "c"))
    assert made.bridging == 0
    assert made.unreachable == ()


def test_a_token_that_the_bases_merges_hide_gets_a_merge_of_its_own() -> None:
    # the base makes ab·c of abc, and only a·bc gives abc
    tokens = ids("a", "b", "c", "ab", "bc", "abc")
    made = unite_merges([("a", "b")], [[("b", "c"), ("a", "bc")]], tokens, ["bc", "abc"], "")
    assert made.pairs[-1] == ("ab", "c")
    assert made.bridging == 1
    assert divide("abc", {pair: n for n, pair in enumerate(made.pairs)}) == ["abc"]


def test_a_token_whose_steps_are_no_tokens_is_told() -> None:
    tokens = ids("a", "b", "c", "d", "bc", "ab", "cd", "abcd")
    made = unite_merges([("b", "c")], [[("a", "b"), ("c", "d"), ("ab", "cd")]], tokens, ["ab", "cd", "abcd"], "")
    assert made.unreachable == ("abcd",)
