"""`penstock stream`: the process between a broker and a gateway."""

import os
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli import process
from penstock.cli.command import ApiKeyOption, BaseUrlOption, CaFileOption, ProfileOption, command, single

app = single()


@app.command(epilog="Example: penstock stream --broker nats --server nats://127.0.0.1:4222 --source orders.in --function word_count")
@command
def stream(
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the stream and of its consumer group. [penstock]")] = None,
    broker: Annotated[str | None, typer.Option(metavar="NAME", help="Message broker: kafka or nats.")] = None,
    server: Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="Address of the broker; repeatable.")] = None,
    source: Annotated[str | None, typer.Option(metavar="TOPIC", help="Topic or subject to consume; each message becomes a task.")] = None,
    results: Annotated[str | None, typer.Option(metavar="TOPIC", help="Topic or subject for the results.")] = None,
    dead_letter: Annotated[
        str | None, typer.Option(metavar="TOPIC", help="Topic or subject for messages that cannot become a task.")
    ] = None,
    records: Annotated[str | None, typer.Option(metavar="WHAT", help="Content of a message: payload, or task. [payload]")] = None,
    kind: Annotated[str | None, typer.Option(metavar="KIND", help="Kind of the tasks: function, inference or webhook. [function]")] = None,
    function: Annotated[str | None, typer.Option(metavar="NAME", help="Function that the tasks call.")] = None,
    queue: Annotated[str | None, typer.Option(metavar="NAME", help="Queue of the tasks.")] = None,
    priority: Annotated[int | None, typer.Option(min=1, max=10, metavar="N", help="Priority of the tasks; 10 is the most urgent.")] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="TAG", help="Additional tag of the tasks; repeatable.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, metavar="N", help="Submissions at the same time. [4]")] = None,
    batch: Annotated[int | None, typer.Option(min=1, metavar="N", help="Messages in one submission. [200]")] = None,
    option: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Option of the broker's client; repeatable.")] = None,
    state_dir: Annotated[Path | None, typer.Option(metavar="DIR", help="Directory that remembers what was published.")] = None,
    metrics_port: Annotated[int | None, typer.Option(metavar="PORT", help="Loopback port for /metrics; 0 means none. [0]")] = None,
    config: process.ConfigOption = None,
    profile: ProfileOption = None,
    base_url: BaseUrlOption = None,
    api_key: ApiKeyOption = None,
    ca_file: CaFileOption = None,
    json_output: process.JsonLineOption = False,
) -> int:
    """Start a stream: it consumes Kafka or NATS messages, runs each as a task, and publishes the results."""
    flags = {
        "name": name,
        "broker": broker,
        "servers": server or None,
        "source": source,
        "results": results,
        "dead_letter": dead_letter,
        "records": records,
        "kind": kind,
        "function": function,
        "queue": queue,
        "priority": priority,
        "tags": tag or None,
        "workers": workers,
        "batch": batch,
        "options": process.pairs(option, "--option") or None,
        "state_dir": state_dir,
        "metrics_port": metrics_port,
    }
    settings = process.load_settings({"stream": flags}, config)
    from penstock.app import streams as app
    from penstock.base import profiles
    from penstock.cli.client.connection import resolve
    from penstock.net.api_client.connection import ConnectionFlags, around_proxies, verified_by

    connection = resolve(ConnectionFlags(profile, base_url, api_key, ca_file), os.environ, profiles.default_path())
    # A proxy of the environment is never the way to this machine itself.
    trust_env = not around_proxies(connection)
    return app.run(settings, connection.root, connection.api_key, trust_env=trust_env, verify=verified_by(connection), announce=json_output)
