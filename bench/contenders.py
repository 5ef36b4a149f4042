"""How each contender is installed and started in front of the same upstream.

A new rival is one function here and one line in `CONTENDERS`.
"""

import json
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import free_port

PENSTOCK, NGINX, VLLM_ROUTER = "penstock", "nginx", "vllm-router"
INSTALLED: Mapping[str, str] = {
    VLLM_ROUTER: "vllm-router==0.1.17",
    "sglang-router": "sglang-router==0.3.2",
    "litellm": "litellm[proxy]==1.106.2",
    "portkey": "@portkey-ai/gateway==1.15.2",
}
"""Rivals that come as packages, at the versions that are measured."""
QUEUES: Mapping[str, tuple[str, ...]] = {
    "celery": ("celery==5.7.0", "redis==8.1.0", "packaging==26.3"),
    "arq": ("arq==0.28.0", "redis==5.3.1"),
    "dramatiq": ("dramatiq==2.2.1", "redis==8.1.0"),
    "procrastinate": ("procrastinate==3.10.0", "psycopg[binary,pool]==3.3.9"),
    "pgqueuer": ("pgqueuer==1.6.0", "asyncpg==0.32.0"),
}
"""Rivals of the task queue (`queue/rivals.py`), each with the driver that it names."""


class LeftOut(Exception):
    """It cannot take part here; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a contender needs to know."""

    upstream_port: int
    directory: Path
    """Its own, for as long as it runs."""
    cache: Path
    """For rivals' packages; stays."""
    penstock: Path

    @property
    def upstream(self) -> str:
        return f"http://127.0.0.1:{self.upstream_port}"


@dataclass(frozen=True, slots=True)
class Start:
    """A command, and where it will listen."""

    command: list[str | Path]
    port: int = 0
    """0: it prints a JSON line with its `base_url` and `api_key`."""
    headers: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None


def penstock(place: Place) -> Start:
    if not place.penstock.exists():
        raise LeftOut(f"there is no {place.penstock.name} beside this Python: make install, or --penstock PATH")
    flags = ["--json", "--port", "0", "--no-discover", "--workers", "0", "--upstream", f"m={place.upstream}"]
    return Start(
        [place.penstock, "up", *flags, "--data-dir", place.directory / "data"],
        environment={"PENSTOCK_PROFILE": str(place.directory / "profiles.toml")},
        directory=place.directory,
    )


def nginx(place: Place) -> Start:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise LeftOut("not installed; on Debian and Ubuntu: apt-get install nginx-light")
    port, home = free_port(), place.directory
    configuration = home / "nginx.conf"
    folders = " ".join(f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    configuration.write_text(f"""
        worker_processes 1; daemon off; pid {home}/pid; error_log {home}/error.log;
        events {{ worker_connections 2048; }}
        http {{
            access_log off; keepalive_requests 100000000; {folders}
            upstream tokens {{ server 127.0.0.1:{place.upstream_port}; keepalive 256; keepalive_requests 100000000; }}
            server {{
                listen 127.0.0.1:{port};
                location / {{ proxy_pass http://tokens; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }}
            }}
        }}""")
    return Start([program, "-e", home / "error.log", "-c", configuration], port)


def vllm_router(place: Place) -> Start:
    home = _python_packages(place, VLLM_ROUTER, "setproctitle")
    port = free_port()
    flags = ["--worker-urls", place.upstream, "--host", "127.0.0.1", "--port", str(port), "--policy", "round_robin"]
    return Start([home / "vllm-router", *flags, "--prometheus-port", str(free_port())], port)


def sglang_router(place: Place) -> Start:
    home = _python_packages(place, "sglang-router", "setproctitle")
    port = free_port()
    flags = ["--worker-urls", place.upstream, "--host", "127.0.0.1", "--port", str(port), "--policy", "round_robin"]
    return Start([home / "python", "-m", "sglang_router.launch_router", *flags, "--prometheus-port", str(free_port())], port)


def litellm(place: Place) -> Start:
    home = _python_packages(place, "litellm")
    port, configuration = free_port(), place.directory / "litellm.yaml"
    models = [{"model_name": "m", "litellm_params": {"model": "openai/m", "api_base": f"{place.upstream}/v1", "api_key": "x"}}]
    # JSON is YAML.
    # It refuses to start without a key, or with a weak one.
    key = f"sk-{secrets.token_hex(24)}"
    quiet = {"litellm_settings": {"num_retries": 0, "callbacks": []}, "general_settings": {"master_key": key}}
    configuration.write_text(json.dumps({"model_list": models} | quiet))
    flags = ["--config", str(configuration), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    return Start([home / "litellm", *flags], port, {"Authorization": f"Bearer {key}"}, {"LITELLM_LOG": "ERROR"})


def portkey(place: Place) -> Start:
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        raise LeftOut("needs Node and npm")
    home = place.cache / "portkey"
    # Newer versions of what it is built on do not work with it.
    package, _, number = INSTALLED["portkey"].partition("==")
    needs = {"dependencies": {package: number}, "overrides": {"hono": "4.9.7", "@hono/node-server": "1.13.5"}}

    def install() -> None:
        (home / "package.json").write_text(json.dumps(needs))
        _call([npm, "install", "--silent", "--no-audit", "--no-fund"], home)

    _once(home, json.dumps(needs), install)
    port = free_port()
    program = home / "node_modules/@portkey-ai/gateway/build/start-server.js"
    headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"{place.upstream}/v1"}
    return Start([node, program, "--headless", f"--port={port}"], port, headers, directory=home)


CONTENDERS: Mapping[str, Callable[[Place], Start]] = {
    NGINX: nginx,
    PENSTOCK: penstock,
    VLLM_ROUTER: vllm_router,
    "sglang-router": sglang_router,
    "portkey": portkey,
    "litellm": litellm,
}
ON_REQUEST = ("portkey", "litellm")
"""Large to install and far behind the others: only when asked for."""


def _python_packages(place: Place, name: str, *others: str) -> Path:
    return python_packages(place.cache, name, INSTALLED[name], *others)


def python_packages(cache: Path, name: str, *requirements: str) -> Path:
    """The `bin` folder of an environment that holds the rival, and what else it turned out to need. Raises LeftOut."""
    home = cache / name

    def install() -> None:
        _call([sys.executable, "-m", "venv", "--clear", str(home)], cache)
        pip = [str(home / "bin/python"), "-m", "pip", "--disable-pip-version-check", "--no-input", "-q", "install"]
        # Wheels alone: nobody wants to wait for a compiler here.
        _call([*pip, "--only-binary=:all:", *requirements], cache)

    _once(home, " ".join(requirements), install)
    return home / "bin"


def _once(home: Path, what: str, install: Callable[[], None]) -> None:
    """Unless the same was installed there before."""
    stamp = home / "installed"
    if stamp.exists() and stamp.read_text() == what:
        return
    print(f"bench: installing {home.name} into {home.parent}, once", file=sys.stderr)
    home.mkdir(parents=True, exist_ok=True)
    install()
    stamp.write_text(what)


def _call(command: list[str], directory: Path) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LeftOut(f"could not be installed: {done.stderr.strip().splitlines()[-1:]}")
