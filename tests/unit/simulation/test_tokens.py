"""The tokenizer's rule."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.ports.engine import Conversation, Message, ToolCall
from penstock.simulation import tokens


@given(st.text())
def test_tokens_join_to_the_text(text: str) -> None:
    assert "".join(tokens.split(text)) == text
    assert len(tokens.split(text)) == tokens.count(text)


def test_text_is_split_into_words_spaces_and_punctuation_of_limited_length() -> None:
    assert tokens.split("Hello, wonderfully  new\nworld_1!") == ["Hello", ",", " wonderfu", "lly", " ", " new", "\n", "world_1", "!"]


def test_words_of_the_vocabulary_are_a_token_each() -> None:
    assert len(set(tokens.VOCABULARY)) == len(tokens.VOCABULARY)
    assert all(tokens.split(f" {word}") == [f" {word}"] for word in tokens.VOCABULARY)


def test_prompts_of_every_kind_are_counted() -> None:
    call = ToolCall("call_1", "weather", '{"a":1}')
    conversation = Conversation((Message("user", "Rain today?"), Message("assistant", "", tool_calls=(call,))))
    assert tokens.count_prompt("Rain today?") == 3
    assert tokens.count_prompt((1, 2, 3, 4)) == 4
    assert tokens.count_prompt(conversation) == tokens.REPLY_TOKENS + 2 * tokens.MESSAGE_TOKENS + 3 + 1 + 7
    assert tokens.text_of(conversation) == 'user: Rain today?\nassistant: {"a":1}'
    assert tokens.text_of((0, 1)) == "water gate"
