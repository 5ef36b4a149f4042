"""Where an upstream's paths begin."""

import pytest

from penstock.domain.inference import api_path, short_base


@pytest.mark.parametrize(
    ("url", "base", "path"),
    [
        ("http://h:1", "http://h:1", "/v1/chat/completions"),
        ("http://h:1/v1", "http://h:1", "/v1/chat/completions"),
        ("http://h:1/v1/", "http://h:1", "/v1/chat/completions"),
        ("http://h:1/team/v1", "http://h:1/team", "/team/v1/chat/completions"),
        ("http://h:1/team", "http://h:1/team", "/team/v1/chat/completions"),
        ("https://h/api/v3", "https://h/api/v3", "/api/v3/chat/completions"),
        ("https://h/v1beta/openai/", "https://h/v1beta/openai", "/v1beta/openai/chat/completions"),
        ("https://h/v1/openai", "https://h/v1/openai", "/v1/openai/chat/completions"),
        ("https://h/client/v4/accounts/a/ai/v1", "https://h/client/v4/accounts/a/ai/v1", "/client/v4/accounts/a/ai/v1/chat/completions"),
        ("https://h/openai/deployments/gpt", "https://h/openai/deployments/gpt", "/openai/deployments/gpt/chat/completions"),
        ("https://h/models/v2-large", "https://h/models/v2-large", "/models/v2-large/v1/chat/completions"),
    ],
)
def test_base_path_with_a_version_gets_no_other_one(url: str, base: str, path: str) -> None:
    assert short_base(url) == base
    assert api_path(base.partition("://")[2].partition("/")[1] + base.partition("://")[2].partition("/")[2], "/v1/chat/completions") == path
