"""Files through the SDK's own calls."""

import pytest
from openai import APIStatusError, NotFoundError, OpenAI


def test_a_file_from_upload_to_deletion(client: OpenAI) -> None:
    content = b'{"custom_id": "1"}\n' * 1000
    made = client.files.create(file=("lines.jsonl", content), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600})
    assert (made.object, made.bytes, made.filename, made.purpose) == ("file", len(content), "lines.jsonl", "batch")
    assert made.expires_at == made.created_at + 3600
    assert client.files.retrieve(made.id) == made
    assert client.files.content(made.id).content == content
    with client.files.with_streaming_response.content(made.id) as streamed:
        assert b"".join(streamed.iter_bytes()) == content
    deleted = client.files.delete(made.id)
    assert (deleted.id, deleted.deleted) == (made.id, True)
    with pytest.raises(NotFoundError) as raised:
        client.files.retrieve(made.id)
    assert raised.value.param == "id"


def test_pages_are_followed(client: OpenAI) -> None:
    made = [client.files.create(file=(f"{number}.txt", b"x"), purpose="user_data").id for number in range(5)]
    pages = client.files.list(limit=2, purpose="user_data", order="asc", after=made[0])
    assert [each.id for each in pages] == made[1:]
    assert client.files.wait_for_processing(made[0]).status == "processed"
    for each in made:
        client.files.delete(each)


def test_a_purpose_that_is_none(client: OpenAI) -> None:
    with pytest.raises(APIStatusError) as raised:
        client.files.create(file=("x", b"x"), purpose="nonsense")  # type: ignore[arg-type] # that is the point
    assert (raised.value.status_code, raised.value.param) == (400, "purpose")
