"""`penstock up --model`: one command from a folder with a model to answers."""

import subprocess
import sys
from pathlib import Path

import openai

from tests.live.platform import Platform, running
from tests.support.tiny.place import tiny_model


def test_a_folder_is_served_with_one_command(tmp_path: Path) -> None:
    with running(Platform(tmp_path, "--model", str(tiny_model()))) as platform:
        client = openai.OpenAI(base_url=platform.base_url, api_key=platform.api_key)
        assert [model.id for model in client.models.list()] == ["tiny"]
        messages = [{"role": "user", "content": "Tell me about water."}]
        asked = {"model": "tiny", "messages": messages, "seed": 3, "max_tokens": 20}
        whole = client.chat.completions.create(**asked)  # type: ignore[call-overload]  # the same fields twice
        stream = client.chat.completions.create(**asked, stream=True)  # type: ignore[call-overload]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == whole.choices[0].message.content
        said = (tmp_path / "log").read_text()
    assert "penstock: model-1: the model is loaded tiny" in said


def test_a_model_that_is_not_there_ends_it_with_the_reason(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "penstock", "up", "--port", "0", "--no-discover", "--data-dir", str(tmp_path / "data")]
    ended = subprocess.run([*command, "--model", str(tmp_path / "nothing")], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert f"cannot be served: there is no model at {tmp_path / 'nothing'}: that folder does not exist" in ended.stderr
